"""A pseudo-terminal of the container's devpts (pts(4)) as our controlling terminal."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import termios

from engine.errors import OperationFailed
from engine.kernel import calls, flags

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from engine.keeper.bundle import Bundle
    from engine.keeper.child.kernel import Kernel
    from engine.keeper.child.progress import Progress

_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441


def only_directly(bundle: Bundle) -> str:
    """Why a recorded start cannot open the terminal; see steps.py."""
    return "a terminal" if bundle["process"].get("tty") else ""


def open_terminal(kernel: Kernel, progress: Progress) -> None:
    """Open a terminal if the container has one, and send the master to the keeper."""
    process = progress.bundle["process"]
    if process.get("tty"):
        master = open_pair(*process.get("console_size", ()))
        bind_console()
        kernel.send({"event": "terminal"}, (master,))
        kernel.close(master)


def open_pair(rows: int = 0, columns: int = 0) -> int:
    """Open a terminal of this size on 0, 1 and 2 as the controlling terminal; returns the master's descriptor. Neither
    end is opened by name, because the file could have been replaced (CVE-2025-52565).
    """
    master = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if calls.filesystem_type(master) != flags.DEVPTS_SUPER_MAGIC or os.fstat(master).st_rdev != os.makedev(5, 2):
        raise OperationFailed("open", "/dev/pts/ptmx", detail="it is not a terminal multiplexer")
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
    for fd in range(3):
        os.dup2(slave, fd)
    if slave > 2:
        os.close(slave)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if rows or columns:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
    return master


def bind_console() -> None:
    """Create /dev/console as in Docker: the terminal bind-mounted over a file of that name."""
    try:
        os.close(os.open("/dev/console", os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass
    target = os.open("/dev/console", flags.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if stat.S_ISLNK(os.fstat(target).st_mode):
            raise OperationFailed("mount", "/dev/console", detail="it is a symbolic link")
        tree = calls.open_tree(0, "", flags.OPEN_TREE_CLONE | flags.AT_EMPTY_PATH)
        try:
            calls.move_mount(tree, target)
        finally:
            os.close(tree)
    finally:
        os.close(target)
