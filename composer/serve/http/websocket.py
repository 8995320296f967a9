"""WebSocket on a hijacked connection (RFC 6455): binary messages of any size, without extensions."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING

from composer.serve.http.errors import BadRequest, ClientGone

if TYPE_CHECKING:
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.raw import Raw
    from composer.serve.http.request import Request

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_CONTROL_LIMIT = 125
_PROTOCOL_ERROR = (1002).to_bytes(2, "big")


async def accept(request: Request, exchange: Exchange) -> WebSocket:
    """Perform the handshake. Raises BadRequest if the request is not a WebSocket handshake."""
    key = request.headers.get("sec-websocket-key", "")
    if not exchange.upgrades or request.headers.get("upgrade", "").lower() != "websocket":
        raise BadRequest("not a WebSocket handshake: the header Upgrade: websocket is missing")
    if request.headers.get("sec-websocket-version") != "13" or not _is_key(key):
        raise BadRequest("not a WebSocket handshake: version 13 and a key of 16 bytes are expected")
    digest = hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()
    answer = {"Sec-WebSocket-Accept": base64.b64encode(digest).decode()}
    return WebSocket(await exchange.hijack("", protocol="websocket", headers=answer))


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


class WebSocket:
    """A stream with the interface of Raw: the contents of the client's messages, and messages to it."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._buffer = b""
        self._left = 0
        self._mask = b""
        self._ended = False

    async def receive(self) -> bytes:
        """A part of a message; b"" when the client has closed the connection."""
        while not self._ended:
            if self._left:
                if not self._buffer and not await self._fill():
                    break
                piece, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
                data = _masked(piece, self._mask)
                self._left -= len(piece)
                self._mask = self._mask[len(piece) % 4 :] + self._mask[: len(piece) % 4]
                return data
            await self._next()
        self._ended = True
        return b""

    async def _next(self) -> None:
        """Read the next frame's header, and control frames as a whole."""
        head = await self._take(2)
        if len(head) < 2:
            self._ended = True
            return
        kind, masked, length = head[0] & 0x0F, head[1] & 0x80, head[1] & 0x7F
        if head[0] & 0x70 or not masked or (kind >= _CLOSE and (length > _CONTROL_LIMIT or not head[0] & 0x80)):
            await self._close(_PROTOCOL_ERROR)
            return
        if length > _CONTROL_LIMIT:
            length = int.from_bytes(await self._take(2 if length == 126 else 8), "big")
        self._mask = await self._take(4)
        if len(self._mask) < 4:
            self._ended = True
        elif kind in (_CONTINUATION, _TEXT, _BINARY):
            self._left = length
        else:
            await self._control(kind, _masked(await self._take(length), self._mask))

    async def _control(self, kind: int, data: bytes) -> None:
        if kind == _PING:
            await self._frame(_PONG, data)
        elif kind != _PONG:
            await self._close(data[:2] if kind == _CLOSE else _PROTOCOL_ERROR)

    async def _close(self, reason: bytes) -> None:
        self._ended = True
        try:
            await self._frame(_CLOSE, reason)
        except ClientGone:
            return

    async def _fill(self) -> bool:
        data = await self._raw.receive()
        self._buffer += data
        return bool(data)

    async def _take(self, size: int) -> bytes:
        """`size` bytes; fewer if the client has disconnected."""
        while len(self._buffer) < size and await self._fill():
            pass
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    async def send(self, data: bytes) -> None:
        await self._frame(_BINARY, data)

    async def _frame(self, kind: int, data: bytes) -> None:
        size = len(data)
        if size <= _CONTROL_LIMIT:
            length = bytes([size])
        elif size < 1 << 16:
            length = bytes([126]) + size.to_bytes(2, "big")
        else:
            length = bytes([127]) + size.to_bytes(8, "big")
        await self._raw.send(bytes([0x80 | kind]) + length + data)

    async def disconnected(self) -> None:
        """Return when the client has closed the connection."""
        await self._raw.disconnected()

    def unread(self) -> int:
        """Bytes sent that the client has not yet read."""
        return self._raw.unread()

    async def end(self) -> None:
        """Send a close frame, and close our side."""
        if not self._ended:
            await self._close((1000).to_bytes(2, "big"))
        await self._raw.end()

    async def close(self) -> None:
        """Close both sides."""
        await self._raw.close()


def _masked(data: bytes, mask: bytes) -> bytes:
    """The data masked or unmasked with a 4-byte key (section 5.3)."""
    if not data:
        return data
    key = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(len(data), "big")
