"""Run folders of builds: each build locks its own; other builds remove those whose build was killed.

<run>/build-<random>/lock    locked as long as the build lives
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator

from engine.cgroup.manager import Cgroups
from engine.filetree.remove import remove as remove_tree
from engine.paths import Roots, make_private

_PREFIX = "build-"


def new_name() -> str:
    """The name of a build: of its folder, and of its group of cgroups."""
    return _PREFIX + os.urandom(6).hex()


def make(roots: Roots, name: str, sweep: Callable[[], None]) -> int:
    """Make a build's folder, after a `sweep`: a descriptor with its lock. Raises OSError."""
    make_private(roots.run)
    with _alone(roots.run):
        sweep()
        folder = f"{roots.run}/{name}"
        os.mkdir(folder, 0o700)
        return _lock(folder)


def remove(roots: Roots, name: str) -> None:
    """Remove a folder that we hold."""
    with _alone(roots.run):
        _remove(f"{roots.run}/{name}")


def exist(roots: Roots) -> bool:
    """Whether there is any folder, of a living build or a killed one."""
    try:
        return any(name.startswith(_PREFIX) for name in os.listdir(roots.run))
    except OSError:
        return False


def sweep_apart(roots: Roots, cgroups: Cgroups, forget: Callable[[str], None]) -> None:
    """`sweep`, by one that makes no folder."""
    with contextlib.suppress(OSError), _alone(roots.run):
        sweep(roots, cgroups, forget)


def sweep(roots: Roots, cgroups: Cgroups, forget: Callable[[str], None] | None) -> None:
    """Remove what killed builds left: their keepers ended with them, their folders, cgroups and leases did not. `forget`
    gives back what a build had of networks."""
    for name in [name for name in os.listdir(roots.run) if name.startswith(_PREFIX)]:
        folder = f"{roots.run}/{name}"
        try:
            marker = _lock(folder)
        except BlockingIOError:
            continue  # alive
        try:
            cgroups.sweep(name, ())
            if forget:
                forget(name)
            _remove(folder)
        finally:
            os.close(marker)


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Keep others from making, sweeping and removing folders in `folder`: a folder without a locked file is a dead build's,
    also when its build is only about to lock it or to remove it."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _lock(folder: str) -> int:
    """Hold the folder as a living build's. Raises BlockingIOError when another does."""
    fd = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _remove(folder: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        remove_tree(folder)
