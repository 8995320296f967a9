"""The raw two-way stream that a connection becomes when a handler takes it over."""

from __future__ import annotations

import fcntl
import select
import sys
import termios

import anyio
from anyio.abc import SocketAttribute

from composer.serve.http.channel import Channel


class Raw:
    """The raw two-way stream of a hijacked connection."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.socket = channel.stream

    async def receive(self) -> bytes:
        """Bytes from the client; b"" when it has closed its side."""
        return await self._channel.more()

    async def send(self, data: bytes) -> None:
        await self._channel.write(data)

    async def disconnected(self) -> None:
        """Return when the client has closed the connection, not only its side of it. Reads nothing."""
        with select.epoll() as hang_up:
            hang_up.register(self._channel.stream.extra(SocketAttribute.raw_socket), 0)  # EPOLLHUP, epoll_ctl(2)
            await anyio.wait_readable(hang_up)

    def unread(self) -> int:
        """Bytes sent that the client has not yet read (SIOCOUTQ, unix(7)); 0 when it has disconnected."""
        sock = self._channel.stream.extra(SocketAttribute.raw_socket)
        try:
            return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except OSError:
            return 0

    async def end(self) -> None:
        """Close our side; the client can continue to send."""
        try:
            await self._channel.stream.send_eof()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            return

    async def close(self) -> None:
        """Close both sides; sending then raises ClientGone."""
        await self._channel.stream.aclose()
