"""Asynchronous reads and writes of non-blocking descriptors that anyio has no streams for: pipes, terminals."""

from __future__ import annotations

import contextlib
import fcntl
import os

import anyio

_PIECE = 1 << 18
"""Bytes per read."""
_CAPACITY = 1 << 20
"""Bytes of a pipe, if there is room for that many (pipe(7)): its ends wait less often for each other."""


def pipe() -> tuple[int, int]:
    """A large pipe: (reading end, writing end)."""
    reading, writing = os.pipe()
    widen(writing)
    return reading, writing


def widen(fd: int) -> None:
    """Enlarge a pipe, given one of its ends."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _CAPACITY)


async def read(fd: int) -> bytes:
    """Read from a non-blocking descriptor; b"" at the end (EIO: a terminal that no process has open any more)."""
    while True:
        try:
            return os.read(fd, _PIECE)
        except BlockingIOError:
            await anyio.wait_readable(fd)
        except OSError:
            return b""


async def write(fd: int, data: bytes) -> bool:
    """Write all data. Returns False when the reader has closed its end."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            await anyio.wait_writable(fd)
        except OSError:
            return False
    return True
