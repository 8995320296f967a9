"""What waits in a supervisor and may be cancelled: a request whose command has hung up, the probes of what has ended.

asyncio delivers a cancellation once, and whoever swallows it must deliver it again. `asyncio.wait_for` does not (before Python
3.12, when what it waits for comes in the same moment): what may be cancelled waits in an `asyncio.timeout`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar

Outcome = TypeVar("Outcome")


async def shielded(work: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Do the work to its end, whatever cancellations come, and give its outcome or raise its error. The cancellations are
    delivered as one when the caller waits next, so that what was done can still be written down.

    Not for the body of an `asyncio.timeout`: its cancellation might come when the body is over.
    """
    doing = asyncio.ensure_future(work)
    cancelled = False
    while not doing.done():
        try:
            await asyncio.wait((doing,))
        except asyncio.CancelledError:
            cancelled = True
    this = asyncio.current_task()
    if cancelled and this is not None:
        this.uncancel()  # it is the same one: cancellations are counted
        this.cancel()
    return doing.result()


async def readable(sock: socket.socket) -> None:
    """Wait until something can be read from, or accepted at, the socket. One task at a time may."""
    loop, fd = asyncio.get_running_loop(), sock.fileno()
    ready = loop.create_future()
    loop.add_reader(fd, _resolve, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def writable(sock: socket.socket) -> None:
    """Wait until something can be written to the socket. One task at a time may."""
    loop, fd = asyncio.get_running_loop(), sock.fileno()
    ready = loop.create_future()
    loop.add_writer(fd, _resolve, ready)
    try:
        await ready
    finally:
        loop.remove_writer(fd)


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
