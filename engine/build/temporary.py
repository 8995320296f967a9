"""Directories for what builds fetch or unpack, beside their caches. Each is locked as long as its build lives; later builds
remove those of killed ones.

<cache>/build/.temporary-<random>/
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator

from engine.filetree.remove import remove as remove_tree

_PREFIX = ".temporary-"


def make(folder: str) -> tuple[str, int]:
    """Create a directory in `folder`, after a `sweep`. Returns its path and a descriptor that keeps it locked. Raises OSError."""
    sweep(folder)
    path = f"{folder}/{_PREFIX}{secrets.token_hex(8)}"
    with _alone(folder):
        os.mkdir(path, 0o700)
        return path, _locked(path)


def remove(path: str, lock: int) -> None:
    try:
        remove_tree(path)
    finally:
        os.close(lock)


def sweep(folder: str) -> None:
    """Remove the directories of killed builds. Errors are ignored: a later sweep tries again."""
    dead: list[tuple[str, int]] = []
    with contextlib.suppress(OSError), _alone(folder):
        for name in os.listdir(folder):
            if name.startswith(_PREFIX):
                with contextlib.suppress(OSError):  # most are locked by a living build
                    dead.append((f"{folder}/{name}", _locked(f"{folder}/{name}")))
    for path, lock in dead:
        with contextlib.suppress(OSError):
            remove(path, lock)


def _locked(path: str) -> int:
    """Raises BlockingIOError when a build has locked the directory."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Nobody else creates or sweeps directories in `folder`: one that is not locked yet looks like that of a killed build."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
