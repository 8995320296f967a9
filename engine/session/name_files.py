"""The texts of /etc/hosts, /etc/hostname and /etc/resolv.conf in a container."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Sequence

from engine.container import etc
from engine.errors import NotFound
from engine.net import bridge, dnsforward
from engine.session.group import Group
from engine.spec.state import ContainerRecord, Endpoint

_FRESH = 50_000_000
"""Nanoseconds for which a file's next change could have the same time."""


def _host_text(path: str) -> str:
    """The text of one of the host's files, "" if it does not exist; read again only after a change."""
    try:
        status = os.stat(path)
        if time.time_ns() - status.st_ctime_ns < _FRESH:
            return _text.__wrapped__(path)
        return _text(path, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
    except OSError:
        return ""


@functools.lru_cache(maxsize=8)
def _text(path: str, *_which: int) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def hostname(group: Group, record: ContainerRecord) -> str:
    spec = record.spec
    if spec.hostname:
        return spec.hostname
    if spec.network_mode == "host" or spec.uts_mode == "host":
        return os.uname().nodename
    if spec.network_mode.startswith("container:"):
        return hostname(group, group.other(spec.network_mode.removeprefix("container:")))
    return record.id[:12]


def texts(group: Group, record: ContainerRecord, endpoints: Sequence[Endpoint]) -> dict[str, str]:
    """/etc/hosts, hostname and resolv.conf; a container that joins a network namespace gets those of its owner."""
    owner = _owner(group, record)
    if owner is not record:
        record, endpoints = owner, owner.state.endpoints
    spec, name = record.spec, hostname(group, record)
    host = _host_text("/etc/hosts") if spec.network_mode == "host" else ""
    return {
        "hosts": etc.hosts(spec, name, endpoints, host=host),
        "hostname": f"{name}\n",
        "resolv.conf": resolvers(record, endpoints),
    }


def resolvers(record: ContainerRecord, endpoints: Sequence[Endpoint]) -> str:
    """The text of resolv.conf(5) with these endpoints. As in Docker, a container with only the default network queries
    the servers of its specification directly."""
    direct = record.spec.dns and all(end.network == bridge.DEFAULT for end in endpoints)
    return etc.resolv_conf(record.spec, _host_text(dnsforward.RESOLV_CONF), embedded=bool(endpoints) and not direct)


def resolv_conf(group: Group, record: ContainerRecord) -> str | None:
    """The text for a running container that uses the host's resolvers; None for one that queries our own server, or
    whose network namespace belongs to a removed container."""
    try:
        owner = _owner(group, record)
    except NotFound:
        return None
    if owner.state.endpoints:
        return None
    return etc.resolv_conf(owner.spec, _host_text(dnsforward.RESOLV_CONF), embedded=False)


def _owner(group: Group, record: ContainerRecord) -> ContainerRecord:
    """The container whose network namespace it has. Raises NotFound."""
    while record.spec.network_mode.startswith("container:"):
        record = group.other(record.spec.network_mode.removeprefix("container:"))
    return record
