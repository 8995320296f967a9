"""Exclusive locks on directories and files (flock(2)). The kernel releases those of a killed process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator


@contextlib.contextmanager
def exclusive(folder: str) -> Iterator[int]:
    """Lock a directory, after waiting for others that have locked it. The block gets its descriptor. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def locked(fd: int) -> int:
    """The open file `fd`, now locked. Closes it and raises BlockingIOError if another process has locked it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd
