"""A descriptor in an asyncio event loop: called back when it is readable, unregistered before it is closed.

A loop's selector identifies descriptors by number. One that is closed while registered stays in the selector, and the
next with its number is never reported, because the selector assumes that epoll(7) has it. So all readers of the engine
are registered here, where a descriptor has one owner, and where registrations of an earlier owner of the number are
removed first.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Protocol


class Closing(Protocol):
    """A socket, an epoll object …"""

    def fileno(self) -> int: ...
    def close(self) -> None: ...


class Descriptor:
    """A plain descriptor, as such an object."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)


class Readable:
    """Takes ownership of `source`, which only `close` may close. `ready` is called in the running loop while there is
    something to read."""

    def __init__(self, source: Closing, ready: Callable[[], object]) -> None:
        self._source = source
        self._fd = source.fileno()
        self._loop = asyncio.get_running_loop()
        self._forget()
        self._loop.add_reader(self._fd, ready)
        self.closed = False

    def when_writable(self, ready: Callable[[], object] | None) -> None:
        """Call it while there is room; None stops that."""
        if ready is None:
            self._loop.remove_writer(self._fd)
        else:
            self._loop.add_writer(self._fd, ready)

    def close(self) -> None:
        """Can be called repeatedly, and after the loop has ended."""
        if not self.closed:
            self.closed = True
            self._forget()
            self._source.close()

    def _forget(self) -> None:
        if not self._loop.is_closed():
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
