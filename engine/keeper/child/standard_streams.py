"""The descriptors 0, 1 and 2 of a container's process: pipes that were made for it, or its own null device; never what the
keeper or a client has open."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable

from engine.errors import OperationFailed
from engine.kernel import detached

_DEVICE = os.makedev(1, 3)


def fill(numbers: Iterable[int]) -> None:
    """Put the null device of the container, whose root directory is ours by now, on each of these descriptors."""
    null = -1
    for number in numbers:
        if null < 0:
            null = _null()
        os.dup2(null, number)
    if null > 2:
        os.close(null)


def give(uid: int, gid: int) -> None:
    """Let a program that reopens /dev/stdout do so: pipes belong to its user."""
    for fd in range(3):
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            with contextlib.suppress(PermissionError):  # an ordinary user's keeper may not give everything away
                os.fchown(fd, uid, gid)


def _null() -> int:
    """The container's own node; one in no file system that can be reached where the container has put something else there."""
    try:
        if not _is_null(os.lstat("/dev/null")):  # what else it may be is not even opened
            return _apart()
        fd = os.open("/dev/null", os.O_RDWR | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return _apart()
    if _is_null(os.fstat(fd)):
        os.set_blocking(fd, True)
        return fd
    os.close(fd)
    return _apart()


def _apart() -> int:
    try:
        tree = detached.filesystem("tmpfs", "null", "size=0k,nr_inodes=2", ("nosuid", "noexec"))
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
        os.mknod("null", stat.S_IFCHR | 0o666, _DEVICE, dir_fd=folder)
        fd = os.open("null", os.O_RDWR | os.O_CLOEXEC, dir_fd=folder)
        os.close(folder)
        os.close(tree)
    except OSError as error:
        raise OperationFailed.of("open", "/dev/null in the container", error) from error
    return fd


def _is_null(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == _DEVICE
