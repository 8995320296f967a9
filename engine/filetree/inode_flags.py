"""Attributes that some file systems keep for each inode, as chattr(1) shows them (ioctl_iflags(2))."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

_GET, _SET = 0x80086601, 0x40086602
"""FS_IOC_GETFLAGS, FS_IOC_SETFLAGS."""
FROZEN = 0x10 | 0x20
"""FS_IMMUTABLE_FL and FS_APPEND_FL."""
_SPREAD = 0x20000
"""FS_TOPDIR_FL."""
_UNSUPPORTED = (errno.ENOTTY, errno.EOPNOTSUPP)


def change(fd: int, *, add: int = 0, drop: int = 0) -> None:
    """Add and drop flags of an open file. Raises OSError, also where the file system has no such flags."""
    bits: int = struct.unpack("=l", fcntl.ioctl(fd, _GET, bytes(struct.calcsize("=l"))))[0]
    wanted = bits & ~drop | add
    if wanted != bits:
        fcntl.ioctl(fd, _SET, struct.pack("=l", wanted))


def thaw(fd: int) -> None:
    """Let the open file be changed and removed. Raises OSError."""
    try:
        change(fd, drop=FROZEN)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def spread(folder: str) -> None:
    """Ask the file system to put the directories in `folder` far from each other; nothing where it does not know how.

    ext4 otherwise puts new files where others have just been removed. Without a journal it does not use their inodes for a
    minute or more, and searches past all of them for each new file: with a few thousand, a pull takes four times as long.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        change(fd, add=_SPREAD)
    except OSError as error:
        if error.errno not in (*_UNSUPPORTED, errno.EINVAL, errno.EPERM, errno.EROFS):
            raise
    finally:
        os.close(fd)
