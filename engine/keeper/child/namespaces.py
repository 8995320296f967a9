"""Joining what is not made anew: other containers' namespaces, our cgroups."""

from __future__ import annotations

import os

from engine.errors import OperationFailed
from engine.kernel import calls, flags


def enter_cgroups(procs: list[str]) -> None:
    """Move ourselves ("0") into each cgroup (cgroups(7)); before the cgroup namespace is made, so that it is its root."""
    for path in procs:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, b"0")
            finally:
                os.close(fd)
        except OSError as error:
            raise OperationFailed.of("enter cgroup", path, error) from error


def join(wanted: dict[str, str]) -> None:
    """`wanted`: kind → "new", "host" or the path of a namespace file. New ones but cgroup were made by the clone."""
    for kind, value in wanted.items():
        if kind == "pid" or not value.startswith("/"):
            continue
        try:
            fd = os.open(value, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise OperationFailed.of("join the namespace", value, error) from error
        try:
            calls.setns(fd, flags.CLONE[kind], subject=value)
        finally:
            os.close(fd)
    if wanted.get("cgroup") == "new":
        calls.unshare(flags.CLONE["cgroup"])
