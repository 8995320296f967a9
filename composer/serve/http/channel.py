"""The bytes of a client's connection, in both directions.

Bytes are read only when a handler asks for more of the body, or for the next request, so a client that uploads faster
than its handler reads is blocked by the kernel. Bytes after a request are kept: they belong to the next request
(pipelining) or to the raw stream.
"""

from __future__ import annotations

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.lowlevel import checkpoint

from composer.serve.http.errors import ClientGone

CHUNK = 1 << 18


class Channel:
    """A client's socket, with bytes that were read and belong to whatever follows."""

    def __init__(self, stream: SocketStream) -> None:
        self.stream = stream
        self._socket = stream.extra(SocketAttribute.raw_socket)
        self.pending = b""
        self._ended = False

    def give_back(self, data: bytes) -> None:
        """Put back bytes that belong to whatever follows."""
        self.pending = data + self.pending

    async def fill(self) -> bool:
        """Wait for more bytes; False when the client has closed its side."""
        if not self._ended:
            await checkpoint()  # others get their turn, even if this client never pauses
            data = await self._receive()
            self.pending += data
            self._ended = not data
        return not self._ended

    async def _receive(self) -> bytes:
        """Bytes from the socket; b"" at its end. Not with `stream.receive`, whose cancellation can leave an error in the
        log of the event loop (asyncio.InvalidStateError)."""
        while True:
            try:
                return self._socket.recv(CHUNK)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
            except OSError:
                return b""

    async def more(self) -> bytes:
        """The next bytes from the client, buffered ones first; b"" when it has closed its side."""
        if not self.pending and not await self.fill():
            return b""
        data, self.pending = self.pending, b""
        return data

    async def disconnected(self) -> None:
        """Return when the client has closed its connection (or its side of it); data that arrives meanwhile is kept."""
        while len(self.pending) < CHUNK:
            if not await self.fill():
                return
        await anyio.sleep_forever()

    async def write(self, data: bytes) -> None:
        """Send all of `data`. Raises ClientGone."""
        try:
            await self.stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            raise ClientGone from None
