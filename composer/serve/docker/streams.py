"""Copy bytes between a client's raw stream and a process (Docker Engine API, ContainerAttach, "Stream format")."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING, Protocol

import anyio

from composer.serve.descriptors import read, write
from composer.serve.http.errors import ClientGone

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from composer.detach import Detach
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request


class Client(Protocol):
    """The client's end of a stream: Raw, or a WebSocket."""

    async def receive(self) -> bytes: ...

    async def send(self, data: bytes) -> None: ...

    async def disconnected(self) -> None: ...

    def unread(self) -> int: ...

    async def end(self) -> None: ...

    async def close(self) -> None: ...


RAW, MULTIPLEXED = "application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream"
MULTIPLEXED_SINCE = (1, 42)
"""The first API version whose upgraded answers have the media type of multiplexed streams."""


PATIENCE = 2.0
"""Seconds without progress after which we no longer wait for a client that does not read."""
PAUSE = 0.005
HEADER = 8
"""Bytes of a frame before its data."""


def stream_type(request: Request, exchange: Exchange, *, tty: bool) -> str:
    return MULTIPLEXED if exchange.upgrades and not tty and request.version >= MULTIPLEXED_SINCE else RAW


def frames(stream: int, data: bytes) -> bytes:
    """Output in the frames of attach and logs: stream 1 or 2, three zeros, the length in 4 bytes (big-endian), the
    data."""
    return bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data


class Pump:
    """Copies between the client and descriptors of a process, and closes those. It reads no more than it can send, so a
    slow client holds up only its own process."""

    def __init__(self, raw: Client) -> None:
        self._raw = raw
        self._sending = anyio.Lock()
        self._open = 0
        self._done = anyio.Event()
        self.sent = 0
        """Bytes of output sent to the client."""

    async def drained(self) -> None:
        """Wait until all output has been sent."""
        while self._open:
            self._done = anyio.Event()
            await self._done.wait()

    async def read(self) -> None:
        """Wait until the client has read all output or stops reading. This polls, because no event exists for it."""
        left, since = self._raw.unread(), time.monotonic()
        while left and time.monotonic() - since < PATIENCE:
            await anyio.sleep(PAUSE)
            now = self._raw.unread()
            if now < left:
                self.sent += left - now
                since = time.monotonic()
            left = now

    def framed(self, stream: int, fd: int) -> Coroutine[None, None, None]:
        """Send data from `fd` in frames of this stream, or unframed if it is 0. Counts for `drained` from the call on,
        even before it is awaited."""
        self._open += 1
        return self._out(fd, stream)

    async def plain(self, fd: int) -> None:
        await self.framed(0, fd)

    async def _out(self, fd: int, stream: int) -> None:
        try:
            while data := await read(fd):
                async with self._sending:
                    await self._raw.send(frames(stream, data) if stream else data)
                    self.sent += len(data)
        except ClientGone:
            # The client has disconnected, and the process continues: discard its output from now on.
            while await read(fd):
                pass
        finally:
            self._open -= 1
            self._done.set()
            os.close(fd)

    async def chosen(self, fd: int, wanted: set[int], *, framed: bool = True) -> None:
        """Forward the frames from `fd` of the wanted streams; without `framed` only their contents."""
        self._open += 1
        buffer = b""
        try:
            while data := await read(fd):
                buffer += data
                while len(buffer) >= HEADER and len(buffer) >= (
                    end := HEADER + int.from_bytes(buffer[4:HEADER], "big")
                ):
                    if buffer[0] in wanted:
                        await self._raw.send(buffer[0 if framed else HEADER : end])
                        self.sent += end
                    buffer = buffer[end:]
        finally:
            self._open -= 1
            self._done.set()
            os.close(fd)

    async def half_closing(self, fd: int, escape: Detach | None = None) -> bool:
        """As `into`, for a socket that is also read: when the client closes its side, the socket is only shut down for
        writing."""
        with socket.socket(fileno=fd) as sock:
            detached = await self._copy(fd, escape)
            if not detached:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_WR)
            return detached

    async def into(self, fd: int, escape: Detach | None = None) -> bool:
        """Copy the client's input; its end is the end of the process's input. Returns whether the client detached: then
        its connection is closed, and output is discarded."""
        try:
            return await self._copy(fd, escape)
        finally:
            os.close(fd)

    async def _copy(self, fd: int, escape: Detach | None) -> bool:
        while data := await self._raw.receive():
            data, detached = escape.feed(data) if escape is not None else (data, False)
            if not await write(fd, data):
                return False
            if detached:
                await self._raw.close()
                return True
        return False
