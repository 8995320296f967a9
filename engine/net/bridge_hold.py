"""Holds the network `bridge`, so that it exists even without containers while a Docker API server runs. The server's
clients may have looked up its gateway, through which programs in other networks reach published ports.

    <run>/bridge.hold   locked by each holder (flock(2)), so that a killed one no longer counts
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from engine.paths import Roots, make_private

_FILE = "bridge.hold"


def hold(roots: Roots) -> int:
    """A descriptor that holds the network until it is released. Raises OSError."""
    make_private(roots.run)
    path = f"{roots.run}/{_FILE}"
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(path), os.fstat(fd)):
                return fd
        os.close(fd)  # the last holder has just removed the file


def release(roots: Roots, fd: int) -> None:
    """The end of a hold. The last one removes the file."""
    os.close(fd)
    is_held(roots)


def is_held(roots: Roots) -> bool:
    """Whether a process holds the network. A file that nobody has locked is removed."""
    path = f"{roots.run}/{_FILE}"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(path), os.fstat(fd)):
                os.unlink(path)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
