"""Asynchronous reads and writes of non-blocking descriptors that anyio has no streams for: pipes, terminals."""

from __future__ import annotations

import os

import anyio

_PIECE = 1 << 16
"""Bytes per read: the capacity of a pipe (pipe(7))."""


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
