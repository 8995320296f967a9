"""The bytes of a client's connection, in both directions.

Bytes are read only when a handler asks for more of the body, or for the next request, so a client that uploads faster
than its handler reads is blocked by the kernel. Bytes after a request are kept: they belong to the next request
(pipelining) or to the raw stream.
"""

from __future__ import annotations

import anyio
from anyio.abc import SocketStream

from composer.serve.http.errors import ClientGone

CHUNK = 1 << 18


class Channel:
    """A client's socket, with bytes that were read and belong to whatever follows."""

    def __init__(self, stream: SocketStream) -> None:
        self.stream = stream
        self.pending = b""
        self._ended = False

    def give_back(self, data: bytes) -> None:
        """Put back bytes that belong to whatever follows."""
        self.pending = data + self.pending

    async def fill(self) -> bool:
        """Wait for more bytes; False when the client has closed its side."""
        if self._ended:
            return False
        try:
            self.pending += await self.stream.receive(CHUNK)
        except (anyio.EndOfStream, anyio.BrokenResourceError, OSError):
            self._ended = True
            return False
        return True

    async def more(self) -> bytes:
        """The next bytes from the client, buffered ones first; b"" when it has closed its side."""
        if not self.pending and not await self.fill():
            return b""
        data, self.pending = self.pending, b""
        return data

    async def gone(self) -> None:
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
