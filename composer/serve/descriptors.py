"""Reading and writing descriptors that do not block, for files that anyio has no stream of: pipes, terminals."""

from __future__ import annotations

import os

import anyio

_PIECE = 1 << 16
"""Bytes: the capacity of a pipe (pipe(7))."""


async def read(fd: int) -> bytes:
    """Bytes of a non-blocking descriptor; b"" at its end (EIO: of a terminal that no process has open)."""
    while True:
        try:
            return os.read(fd, _PIECE)
        except BlockingIOError:
            await anyio.wait_readable(fd)
        except OSError:
            return b""


async def write(fd: int, data: bytes) -> bool:
    """Write all of it; False when nobody reads any more."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            await anyio.wait_writable(fd)
        except OSError:
            return False
    return True
