"""Labels that tie containers, networks and volumes to a project, by Docker Compose's names; what they say of a container."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.spec.state import ContainerRecord

PROJECT = "com.docker.compose.project"
WORKING_DIR = "com.docker.compose.project.working_dir"
CONFIG_FILES = "com.docker.compose.project.config_files"
SERVICE = "com.docker.compose.service"
NUMBER = "com.docker.compose.container-number"
ONEOFF = "com.docker.compose.oneoff"
HASH = "com.docker.compose.config-hash"
DEPENDS_ON = "com.docker.compose.depends_on"
IMAGE = "com.docker.compose.image"
SLUG = "com.docker.compose.slug"
NETWORK = "com.docker.compose.network"
VOLUME = "com.docker.compose.volume"
VERSION = "com.docker.compose.version"
HOOK = "com.docker.compose.hook"
PRE_START = "pre_start"
"""The value of HOOK of the containers of pre_start hooks."""
JOB_ID, JOB_RUN = "com.docker.job.id", "com.docker.job.run-id"
"""Of the containers of jobs' runs: PROJECT.JOB, and the run's id; Docker Engine's own names."""
SUMMARY = "composer.summary"
"""Ours: the flat model at creation, so that a later `up` can say what changed; too long to show."""

AUTOREMOVE = "composer.autoremove"
"""Ours: the supervisor removes the container when it ends (composer.run.monitor)."""

WITHOUT_PROJECT = "_docker"
"""The group of containers that belong to no project: no project can have this name (compose-spec, name)."""


def group_of(labels: Mapping[str, str]) -> str:
    """Where a container, network or volume with these labels belongs."""
    return labels.get(PROJECT) or WITHOUT_PROJECT


def service_of(record: ContainerRecord) -> str:
    return record.spec.labels.get(SERVICE, "")


def number_of(record: ContainerRecord) -> int:
    """Among the containers of its service, from 1 on; 0 for none."""
    number = record.spec.labels.get(NUMBER, "")
    return int(number) if number.isdigit() else 0


def is_oneoff(record: ContainerRecord) -> bool:
    """Whether it is a container of `run`."""
    return record.spec.labels.get(ONEOFF) == "True"


def is_hook(record: ContainerRecord) -> bool:
    """Whether it is the container of a pre_start hook."""
    return HOOK in record.spec.labels


def is_job_run(record: ContainerRecord) -> bool:
    """Whether it is the container of a job's run: the scheduler's to end and to remove."""
    return JOB_RUN in record.spec.labels


def is_replica(record: ContainerRecord) -> bool:
    """Whether it is one of its service's own containers, not one beside them: of `run`, of a hook, or of a job's run."""
    return not is_oneoff(record) and not is_hook(record) and not is_job_run(record)
