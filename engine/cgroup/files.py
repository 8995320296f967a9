"""Create cgroups and write their files (cgroups(7)), with readable errors."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from engine.errors import PRIVILEGED, OperationFailed, Unsupported

_OPTIONAL = ("memory.memsw.limit_in_bytes", "memory.swap.max")
"""Files that are missing if swap accounting is off: Docker warns and continues."""


def make(folder: str) -> None:
    """Create the cgroup and its parents; idempotent."""
    try:
        os.mkdir(folder)
    except FileExistsError:
        pass
    except FileNotFoundError:
        make(os.path.dirname(folder))
        make(folder)
    except OSError as error:
        hint = PRIVILEGED if error.errno == errno.EROFS else ""
        raise OperationFailed.of("create cgroup", folder, error, hint=hint) from error


def write(path: str, *values: str) -> None:
    """Write each value with one write(2). Raises Unsupported if the kernel lacks the file, OperationFailed."""
    value = values[0]
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for value in values:
                os.write(fd, value.encode())
        finally:
            os.close(fd)
    except FileNotFoundError as error:
        folder, _, name = path.rpartition("/")
        if name in _OPTIONAL and os.path.isdir(folder):
            return
        other = _other_weight(name, value)
        if other and os.path.exists(f"{folder}/{other[0]}"):
            write(f"{folder}/{other[0]}", other[1])
            return
        raise Unsupported(f"this kernel has no {name}, which a limit needs") from error
    except OSError as error:
        raise OperationFailed.of(f"write {value!r} to", path, error) from error


def write_any_order(values: Sequence[tuple[str, str]]) -> None:
    """Write each value to its file. Limits that bound each other (memory, and memory with swap) are taken in one order when
    they grow and in the other when they shrink: values that the kernel refuses are retried after the others."""
    refused = []
    for path, value in values:
        try:
            write(path, value)
        except OperationFailed as error:
            if error.errno != errno.EINVAL:
                raise
            refused.append((path, value))
    for path, value in refused:
        write(path, value)


def _other_weight(name: str, value: str) -> tuple[str, str] | None:
    """Without BFQ there may be another scheduler's weights: [10, 1000] onto io.weight's [1, 10000], as runc has it."""
    if name == "io.bfq.weight":
        *device, weight = value.split()
        return "io.weight", " ".join([*(device or ["default"]), str(1 + (int(weight) - 10) * 9999 // 990)])
    if name.startswith("blkio.bfq."):
        return name.replace("bfq.", ""), value
    return None


def pids(folder: str) -> list[int]:
    """The processes of one cgroup; none if it no longer exists."""
    try:
        with open(f"{folder}/cgroup.procs", encoding="utf-8") as file:
            return [int(line) for line in file]
    except OSError:
        return []


def inherit_cpuset(folder: str) -> None:
    """A v1 cpuset is empty, and takes no process, until its cpus and mems are set."""
    parent = os.path.dirname(folder)
    for file in ("cpuset.cpus", "cpuset.mems"):
        try:
            with open(f"{folder}/{file}", encoding="utf-8") as own:
                if own.read().strip():
                    continue
            with open(f"{parent}/{file}", encoding="utf-8") as above:
                value = above.read().strip()
        except OSError:
            continue
        if not value:
            inherit_cpuset(parent)
            with open(f"{parent}/{file}", encoding="utf-8") as above:
                value = above.read().strip()
        write(f"{folder}/{file}", value)
