"""Holds the network `bridge`, so that it exists even without containers while a Docker API server runs. The server's
clients may have looked up its gateway, through which programs in other networks reach published ports.

    <run>/bridge.hold   locked by each holder (flock(2)), so that a killed one no longer counts
"""

from __future__ import annotations

import fcntl
import os

from engine.paths import Roots, make_private

_FILE = "bridge.hold"


def hold(roots: Roots) -> int:
    """A descriptor that holds the network until it is closed. Raises OSError."""
    make_private(roots.run)
    fd = os.open(f"{roots.run}/{_FILE}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_SH)
    return fd


def is_held(roots: Roots) -> bool:
    try:
        fd = os.open(f"{roots.run}/{_FILE}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
