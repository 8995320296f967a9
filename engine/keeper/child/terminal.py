"""A pseudo-terminal from the container's own devpts (pts(4)), as our controlling terminal."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

_TIOCSPTLCK, _TIOCGPTN = 0x40045431, 0x80045430


def open_pair() -> int:
    """Make a terminal, put it on 0, 1 and 2 and make it controlling; the master's descriptor is returned."""
    master = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    (number,) = struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, struct.pack("i", 0)))
    slave = os.open(f"/dev/pts/{number}", os.O_RDWR | os.O_NOCTTY)
    for fd in range(3):
        os.dup2(slave, fd)
    if slave > 2:
        os.close(slave)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    return master
