"""Bytes between a client's raw stream and a process (Docker Engine API, ContainerAttach, "Stream format")."""

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
    from composer.detach import Detach
    from composer.serve.http.connection import Exchange
    from composer.serve.http.request import Request


class Client(Protocol):
    """The client's end of a stream: Raw, or a WebSocket."""

    async def receive(self) -> bytes: ...

    async def send(self, data: bytes) -> None: ...

    async def gone(self) -> None: ...

    def unread(self) -> int: ...

    async def end(self) -> None: ...

    async def close(self) -> None: ...


RAW, MULTIPLEXED = "application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream"
MULTIPLEXED_SINCE = (1, 42)
"""From this version on, an upgraded answer says that its frames are."""


PATIENCE = 2.0
"""Seconds without progress after which a client that does not read is waited for no longer."""
PAUSE = 0.005
HEADER = 8
"""Bytes of a frame before its data."""


def stream_type(request: Request, exchange: Exchange, *, tty: bool) -> str:
    return MULTIPLEXED if exchange.upgrades and not tty and request.version >= MULTIPLEXED_SINCE else RAW


def frames(stream: int, data: bytes) -> bytes:
    """Output as attach and logs send it: stream 1 or 2, three zeros, the length in 4 bytes (big-endian), the data."""
    return bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data


class Pump:
    """Copies between the client and descriptors of a process, which it closes. Each client's slowness stops only its own
    process: nothing is read that has not been sent."""

    def __init__(self, raw: Client) -> None:
        self._raw = raw
        self._sending = anyio.Lock()
        self._open = 0
        self._done = anyio.Event()
        self.sent = 0
        """Bytes of output that the client has taken."""

    async def drained(self) -> None:
        """Wait until all output has been sent."""
        while self._open:
            self._done = anyio.Event()
            await self._done.wait()

    async def read(self) -> None:
        """Wait until the client has read what was sent, or reads no further: no event tells that."""
        left, since = self._raw.unread(), time.monotonic()
        while left and time.monotonic() - since < PATIENCE:
            await anyio.sleep(PAUSE)
            now = self._raw.unread()
            if now < left:
                self.sent += left - now
                since = time.monotonic()
            left = now

    async def framed(self, stream: int, fd: int) -> None:
        """Send what comes from `fd` in frames of this stream, or as it is where that is 0."""
        await self._out(fd, stream)

    async def plain(self, fd: int) -> None:
        await self._out(fd, 0)

    async def _out(self, fd: int, stream: int) -> None:
        self._open += 1
        try:
            while data := await read(fd):
                async with self._sending:
                    await self._raw.send(frames(stream, data) if stream else data)
                    self.sent += len(data)
        except ClientGone:
            # Nobody reads any more, and the process goes on: its output leads nowhere from now on.
            while await read(fd):
                pass
        finally:
            self._open -= 1
            self._done.set()
            os.close(fd)

    async def chosen(self, fd: int, wanted: set[int], *, framed: bool = True) -> None:
        """Frames as they come from `fd`, those of some streams alone; without `framed` only what they carry."""
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
        """As `into`, for a socket that is also read: at the end of the client's side it is only shut down for writing."""
        with socket.socket(fileno=fd) as sock:
            detached = await self._copy(fd, escape)
            if not detached:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_WR)
            return detached

    async def into(self, fd: int, escape: Detach | None = None) -> bool:
        """What the client sends; the end of its side is the end of the process's input. Whether it has detached: then its
        connection is closed, and output leads nowhere."""
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
