"""Run directories of builds: each build locks its own; later builds remove those of killed builds.

<run>/build-<random>/lock             locked as long as the build lives
<run>/build-<random>/cgroup-parent    where its steps have their cgroups, if that is not our own place
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager

from engine import directory_lock
from engine.cgroup.manager import Cgroups
from engine.errors import OperationFailed
from engine.filetree.remove import remove as remove_tree
from engine.paths import Roots, make_private

_PREFIX = "build-"
_CGROUP = "cgroup-parent"


def new_name() -> str:
    """The name of a build, of its directory, and of its group of cgroups."""
    return _PREFIX + os.urandom(6).hex()


def make(roots: Roots, name: str, sweep: Callable[[], None]) -> int:
    """Create a build's directory, after a `sweep`. Returns a descriptor with its lock. Raises OSError."""
    make_private(roots.run)
    with _alone(roots.run):
        sweep()
        folder = f"{roots.run}/{name}"
        os.mkdir(folder, 0o700)
        return _lock(folder)


def note_cgroup(roots: Roots, name: str, parent: str) -> None:
    """Note in a build's folder that its steps have their cgroups below `parent`. OperationFailed."""
    path = f"{roots.run}/{name}/{_CGROUP}"
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(parent)
    except OSError as error:
        raise OperationFailed.of("write", path, error) from error


def _noted(folder: str) -> str:
    try:
        with open(f"{folder}/{_CGROUP}", encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def remove(roots: Roots, name: str) -> None:
    """Remove a directory that we have locked."""
    with _alone(roots.run):
        _remove(f"{roots.run}/{name}")


def exist(roots: Roots) -> bool:
    """Whether there is any directory, of a running build or a killed one."""
    try:
        return any(name.startswith(_PREFIX) for name in os.listdir(roots.run))
    except OSError:
        return False


def sweep_apart(roots: Roots, cgroups: Cgroups, forget: Callable[[str], None]) -> None:
    """`sweep`, for a caller that creates no directory."""
    with contextlib.suppress(OSError), _alone(roots.run):
        sweep(roots, cgroups, forget)


def sweep(roots: Roots, cgroups: Cgroups, forget: Callable[[str], None] | None) -> None:
    """Remove the remains of killed builds: their directories, cgroups and leases (their keepers ended with them).
    `forget` releases a build's network resources."""
    for name in [name for name in os.listdir(roots.run) if name.startswith(_PREFIX)]:
        folder = f"{roots.run}/{name}"
        try:
            marker = _lock(folder)
        except BlockingIOError:
            continue  # alive
        try:
            cgroups.sweep(name, ())
            if parent := _noted(folder):
                cgroups.sweep(name, (), parent)
            if forget:
                forget(name)
            _remove(folder)
        finally:
            os.close(marker)


def _alone(folder: str) -> AbstractContextManager[int]:
    """Prevent others from creating, sweeping and removing directories in `folder`: a directory without a locked file
    looks like a dead build's, even if its build is about to lock or remove it."""
    return directory_lock.exclusive(folder)


def _lock(folder: str) -> int:
    """Lock the directory as a running build's. Raises BlockingIOError if another process has locked it."""
    return directory_lock.locked(os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _remove(folder: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        remove_tree(folder)
