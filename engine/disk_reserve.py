"""Reserved disk space: <state>/reserve, released step by step so that containers can be stopped and removed on a full
disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os

from engine.paths import private

_SIZE, _STEP = 8 << 20, 512 << 10
_ENOUGH = 4 * _SIZE
"""Free bytes required before space is reserved."""
_SCARCE = 2 * _STEP
_PROBE = bytes(64 << 10)
_BTRFS_IOC_SYNC = 0x9408


def keep(state: str) -> None:
    """Create the reserve below the state root if it is missing and there is room; failures are ignored."""
    path = f"{state}/reserve"
    with contextlib.suppress(OSError):
        if not os.path.exists(path) or os.stat(path).st_size < _SIZE:
            if has_room(state):
                with open(path, "wb", opener=private) as file:
                    for start in range(0, _SIZE, _STEP):  # separate extents, because btrfs frees only whole ones
                        os.posix_fallocate(file.fileno(), start, _STEP)


def has_room(folder: str) -> bool:
    """Whether there is so much space that some can be reserved. Raises OSError."""
    return _free(folder) >= _ENOUGH


def give(state: str) -> bool:
    """Release space for one small change. Returns whether any was left."""
    path = f"{state}/reserve"
    with contextlib.suppress(OSError):
        if size := os.stat(path).st_size:
            try:
                os.truncate(path, max(size - _STEP, 0))
            except OSError as error:
                if error.errno != errno.EDQUOT:
                    raise
                os.unlink(path)  # beyond a quota, btrfs refuses even to shorten a file
            _end_transaction(state)
            return True
    return False


def _end_transaction(folder: str) -> None:
    """btrfs frees space only when its transaction ends."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # another file system
            fcntl.ioctl(fd, _BTRFS_IOC_SYNC)
    finally:
        os.close(fd)


def afford_start(state: str) -> bool:
    """Whether there is room to start a container. Missing space comes from the upper half of the reserve; the lower
    half is for stopping and removing. The reserve holds no inodes."""
    try:
        if not _has_inode(state):
            return False
        while _free(state) < _SCARCE:
            if os.stat(f"{state}/reserve").st_size <= _SIZE // 2 or not give(state):
                return False
    except OSError:
        return False
    return True


def is_scarce(state: str) -> bool:
    """Whether a small change may fail for lack of space, or because of a quota."""
    try:
        return _free(state) < _SCARCE or refusal(state) in (errno.ENOSPC, errno.EDQUOT)
    except OSError:
        return False


def _has_inode(folder: str) -> bool:
    """Whether a file can be created there, as far as the file system tells; btrfs does not count inodes."""
    found = os.statvfs(folder)
    return found.f_favail > 0 or not found.f_files


def refusal(folder: str) -> int:
    """Why nothing more can be written there: ENOSPC, EDQUOT, EROFS or EFBIG; 0 for no reason that is known."""
    try:
        if os.statvfs(folder).f_bavail == 0:
            return errno.ENOSPC
        fd = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            if os.write(fd, _PROBE) < len(_PROBE):
                os.write(fd, _PROBE)  # only a write that does nothing gives the reason
        finally:
            os.close(fd)
    except OSError as error:
        return error.errno if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG) else 0
    return 0


def _free(folder: str) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
