"""The descriptors 0, 1 and 2 of a container's process: its own pipes, or the container's null device; never files of
the keeper or a client."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from engine.errors import OperationFailed
from engine.kernel import detached_mounts, flags

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from engine.keeper.child.kernel import Kernel
    from engine.keeper.child.progress import Progress


def close_input(kernel: Kernel, progress: Progress) -> None:
    """Connect a program without input to the null device."""
    process = progress.bundle["process"]
    if not process["tty"] and not process["stdin"]:
        fill(kernel, [0])


def fill(kernel: Kernel, numbers: Iterable[int]) -> None:
    """Open the container's null device on each of these descriptors. Our root is already the container's."""
    null = -1
    for number in numbers:
        if null < 0:
            null = _null(kernel)
        kernel.copy_to(null, number)
    if null > 2:
        kernel.close(null)


def give(kernel: Kernel, pipes: Iterable[int], uid: int, gid: int) -> None:
    """Let the program's user own its pipes, so that it can reopen /dev/stdout."""
    for fd in pipes:
        kernel.give(fd, uid, gid)


class _Replaced(Exception):
    """The container's /dev/null is not the null device."""


def _null(kernel: Kernel) -> int:
    """The container's null device, or, if the container has replaced it, a node in an unreachable file system."""
    try:
        # Do not open anything else that may be there.
        kernel.demand_null(flags.AT_FDCWD, _Replaced, path="/dev/null")
        fd = kernel.open("/dev/null", os.O_RDWR | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK)
    except (OSError, _Replaced):
        return _apart()
    try:
        kernel.demand_null(fd, _Replaced)
    except _Replaced:
        kernel.close(fd)
        return _apart()
    kernel.wait_for_it(fd)
    return fd


def _apart() -> int:
    try:
        tree = detached_mounts.filesystem("tmpfs", "null", "size=0k,nr_inodes=2", ("nosuid", "noexec"))
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
        os.mknod("null", stat.S_IFCHR | 0o666, flags.NULL_DEVICE, dir_fd=folder)
        fd = os.open("null", os.O_RDWR | os.O_CLOEXEC, dir_fd=folder)
        os.close(folder)
        os.close(tree)
    except OSError as error:
        raise OperationFailed.of("open", "/dev/null in the container", error) from error
    return fd
