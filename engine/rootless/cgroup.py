"""The cgroup in which systemd, or root by chown(1), allows us to create others (cgroups(7), "Delegation"). v2 only."""

from __future__ import annotations

import contextlib
import errno
import os
import time

from engine.poll import readable

_MOUNT = "/sys/fs/cgroup"
_FILES = ("", "/cgroup.procs", "/cgroup.subtree_control")
_ATTEMPTS, _PAUSE = 20, 0.01
_OURS = "rootless"
"""The child for ourselves, because a cgroup that delegates controllers cannot contain processes."""


def delegated(mount: str = _MOUNT) -> str:
    """The directory of our cgroup if it is delegated to us, else "". This process then moves into a child of it."""
    if not os.path.exists(f"{mount}/cgroup.controllers"):
        return ""
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        place = next((line.strip()[3:] for line in file if line.startswith("0::")), "/")
    folder = f"{mount}{place}".rstrip("/")
    if os.path.basename(folder) == _OURS:  # an earlier instance started us
        folder = os.path.dirname(folder)
    if place == "/" or not all(os.access(f"{folder}{file}", os.W_OK) for file in _FILES):
        return ""
    try:
        os.makedirs(f"{folder}/{_OURS}", exist_ok=True)
        with open(f"{folder}/{_OURS}/cgroup.procs", "w", encoding="ascii") as file:
            file.write("0")
        with open(f"{folder}/cgroup.controllers", encoding="ascii") as file:
            controllers = file.read().split()
        _pass_on(f"{folder}/cgroup.subtree_control", " ".join(f"+{controller}" for controller in controllers))
    except OSError:
        return ""
    return folder


def _pass_on(path: str, controllers: str) -> None:
    """Enable the controllers for our cgroup's children. EBUSY: it contains other processes. The one that started us
    will exit soon; those of a session, which shares its cgroup, stay."""
    for attempt in range(_ATTEMPTS):
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write(controllers)
            return
        except OSError as error:
            if error.errno != errno.EBUSY or attempt + 1 == _ATTEMPTS:
                raise
            _await_end(os.path.dirname(path))
            time.sleep(_PAUSE)  # the kernel has no event for a cgroup losing its last process


def _await_end(folder: str) -> None:
    """Wait for the process that started us to exit; it has our command line."""
    with open("/proc/self/cmdline", "rb") as file:
        ours = file.read()
    with open(f"{folder}/cgroup.procs", encoding="ascii") as file:
        pids = [int(line) for line in file]
    for pid in pids:
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(pid)
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    if file.read() == ours:
                        readable(pidfd)
            finally:
                os.close(pidfd)
