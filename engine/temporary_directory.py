"""Temporary directories for what is fetched, unpacked or sent. Each is locked as long as its process lives; later processes
remove those of killed ones.

<cache>/build/.temporary-<random>/
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator

from engine import directory_lock
from engine.filetree.remove import remove as remove_tree

_PREFIX = ".temporary-"


@contextlib.contextmanager
def temporary(folder: str) -> Iterator[str]:
    """A new directory in `folder`, which must exist; only its owner can enter it. It is removed at the end of the block. Raises
    OSError."""
    path, lock = make(folder)
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):  # a later sweep tries again
            remove(path, lock)


def make(folder: str) -> tuple[str, int]:
    """Create a directory in `folder`, after a `sweep`. Returns its path and a descriptor that keeps it locked. Raises OSError."""
    sweep(folder)
    path = f"{folder}/{_PREFIX}{secrets.token_hex(8)}"
    with directory_lock.exclusive(folder):  # an unlocked directory looks like that of a killed process
        os.mkdir(path, 0o700)
        return path, _locked(path)


def remove(path: str, lock: int) -> None:
    """Remove a directory and release its lock. Raises OSError."""
    try:
        remove_tree(path)
    finally:
        os.close(lock)


def holds(folder: str, path: str) -> bool:
    """Whether `path` is in a temporary directory of `folder`: no later process sees it again."""
    return path.startswith(f"{folder}/{_PREFIX}")


def sweep(folder: str) -> None:
    """Remove the directories of killed processes. Errors are ignored: a later sweep tries again."""
    dead: list[tuple[str, int]] = []
    with contextlib.suppress(OSError), directory_lock.exclusive(folder):
        for name in os.listdir(folder):
            if name.startswith(_PREFIX):
                with contextlib.suppress(OSError):  # most are locked by a living process
                    dead.append((f"{folder}/{name}", _locked(f"{folder}/{name}")))
    for path, lock in dead:
        with contextlib.suppress(OSError):
            remove(path, lock)


def _locked(path: str) -> int:
    """Raises BlockingIOError when a process has locked the directory."""
    return directory_lock.locked(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))
