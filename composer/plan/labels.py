"""The labels that tie containers, networks and volumes to a project; Docker Compose's own names."""

from __future__ import annotations

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

COMPOSE_VERSION = "2.40.3"
"""The Docker Compose whose behaviour this is."""
