"""Labels that link containers, networks and volumes to a project, under Docker Compose's names, and what they mean."""

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
"""The value of HOOK for containers of pre_start hooks."""
RELAY = "com.docker.compose.relay"
"""On the container that forwards connections to the endpoints of a provided service: a digest of what it forwards."""
RELAY_NETWORK = "com.docker.compose.relay-network"
"""On the network that connects this container with the host; the value is true."""
JOB_ID, JOB_RUN = "com.docker.job.id", "com.docker.job.run-id"
"""On containers of job runs: PROJECT.JOB, and the id of the run; the names are Docker Engine's."""
SUMMARY = "composer.summary"
"""Ours: the flat model at creation, so that a later `up` can tell what changed. Too long to show."""

AUTOREMOVE = "composer.autoremove"
"""Ours: the supervisor removes the container when it exits (composer.run.monitor)."""

WITHOUT_PROJECT = "_docker"
"""The group of containers without a project. No project can have this name (compose-spec, name)."""


def group_of(labels: Mapping[str, str]) -> str:
    """The group of a container, network or volume with these labels."""
    return labels.get(PROJECT) or WITHOUT_PROJECT


def service_of(record: ContainerRecord) -> str:
    return record.spec.labels.get(SERVICE, "")


def number_of(record: ContainerRecord) -> int:
    """The container's number in its service, from 1; 0 if it has none."""
    number = record.spec.labels.get(NUMBER, "")
    return int(number) if number.isdecimal() else 0


def is_oneoff(record: ContainerRecord) -> bool:
    """Whether `run` created the container."""
    return record.spec.labels.get(ONEOFF) == "True"


def is_hook(record: ContainerRecord) -> bool:
    """Whether the container belongs to a pre_start hook."""
    return HOOK in record.spec.labels


def is_job_run(record: ContainerRecord) -> bool:
    """Whether the container belongs to a job run. The scheduler stops and removes it."""
    return JOB_RUN in record.spec.labels


def is_replica(record: ContainerRecord) -> bool:
    """Whether this is a replica of its service, not a container of `run`, a hook or a job run."""
    return not is_oneoff(record) and not is_hook(record) and not is_job_run(record)
