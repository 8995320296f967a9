"""Reserved disk space: <state>/reserve, released step by step so that containers can be stopped and removed on a full
disk."""

from __future__ import annotations

import contextlib
import os

from engine.paths import private

_SIZE, _STEP = 8 << 20, 512 << 10
_ENOUGH = 4 * _SIZE
"""Free bytes required before the reserve is created."""
_SCARCE = 2 * _STEP


def keep(state: str) -> None:
    """Create the reserve below the state root if it is missing and there is room; failures are ignored."""
    path = f"{state}/reserve"
    with contextlib.suppress(OSError):
        if not os.path.exists(path) or os.stat(path).st_size < _SIZE:
            if _free(state) >= _ENOUGH:
                with open(path, "wb", opener=private) as file:
                    os.posix_fallocate(file.fileno(), 0, _SIZE)


def give(state: str) -> bool:
    """Release space for one small change. Returns whether any was left."""
    with contextlib.suppress(OSError):
        fd = os.open(f"{state}/reserve", os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if size := os.fstat(fd).st_size:
                os.ftruncate(fd, max(size - _STEP, 0))
                return True
        finally:
            os.close(fd)
    return False


def afford_start(state: str) -> bool:
    """Whether there is room to start a container. Missing space comes from the upper half of the reserve; the lower
    half is for stopping and removing."""
    try:
        while _free(state) < _SCARCE:
            if os.stat(f"{state}/reserve").st_size <= _SIZE // 2 or not give(state):
                return False
    except OSError:
        return False
    return True


def is_scarce(state: str) -> bool:
    """Whether a small change may fail for lack of space."""
    try:
        return _free(state) < _SCARCE
    except OSError:
        return False


def _free(folder: str) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
