"""Waiting for descriptors, and writing to them. With poll(2), because select(2) accepts only descriptors below 1024,
and our caller may have more open."""

from __future__ import annotations

import math
import os
import select

_LONGEST = 2**31 - 1
"""Milliseconds that fit into poll's int: 24 days. After that, a longer wait checks again."""


def readable(*fds: int, timeout: float | None = None) -> set[int]:
    """Wait for readable descriptors, or ones at their end; returns none after `timeout` seconds (24 days at most)."""
    return _ready(fds, select.POLLIN, timeout)


def writable(fd: int) -> None:
    """Wait until `fd` accepts more data, or never will."""
    _ready((fd,), select.POLLOUT, None)


def _ready(fds: tuple[int, ...], events: int, timeout: float | None) -> set[int]:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, events)
    return {fd for fd, _ in poll.poll(None if timeout is None else min(math.ceil(timeout * 1000), _LONGEST))}


def write_all(fd: int, data: bytes) -> None:
    """Write all of it, waiting for room if the descriptor is non-blocking. Raises OSError."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            writable(fd)
