"""The labels that tie containers, networks and volumes to a project; Docker Compose's own names."""

from __future__ import annotations

from collections.abc import Mapping

PROJECT = "com.docker.compose.project"
WORKING_DIR = "com.docker.compose.project.working_dir"
CONFIG_FILES = "com.docker.compose.project.config_files"
SERVICE = "com.docker.compose.service"
NUMBER = "com.docker.compose.container-number"
ONEOFF = "com.docker.compose.oneoff"
HASH = "com.docker.compose.config-hash"
DEPENDS_ON = "com.docker.compose.depends_on"
IMAGE = "com.docker.compose.image"
NETWORK = "com.docker.compose.network"
VOLUME = "com.docker.compose.volume"
VERSION = "com.docker.compose.version"
HOOK = "com.docker.compose.hook"
PRE_START = "pre_start"
"""The value of HOOK of the containers of pre_start hooks."""
SUMMARY = "composer.summary"
"""Ours: the flat model at creation, so that a later `up` can say what changed."""

AUTOREMOVE = "composer.autoremove"
"""Ours: the supervisor removes the container when it ends (composer.run.monitor)."""

WITHOUT_PROJECT = "_docker"
"""The group of containers that belong to no project: no project can have this name (compose-spec, name)."""


def group_of(labels: Mapping[str, str]) -> str:
    """Where a container, network or volume with these labels belongs."""
    return labels.get(PROJECT) or WITHOUT_PROJECT
