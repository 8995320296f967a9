"""One client's connection: requests, answers, and the raw stream after an upgrade.

    bytes ─▶ httptools ─▶ Request ─▶ handler ─▶ Reply │ Exchange.begin/send │ Exchange.hijack ─▶ bytes

Bytes are read only when a handler asks for more of the body, or for the next request, so a client that uploads faster
than its handler reads is blocked by the kernel. Bytes after a request are kept: they belong to the next request
(pipelining) or to the raw stream.
"""

from __future__ import annotations

import fcntl
import select
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from urllib.parse import unquote

import anyio
import httptools
from anyio.abc import SocketAttribute, SocketStream

from composer.serve.http.errors import BadRequest, ClientGone, HTTPError
from composer.serve.http.framing import framing
from composer.serve.http.request import Reply, Request

MAX_HEADERS = 64 * 1024
"""Size limit of a request's first line and headers."""
CHUNK = 1 << 18
HALF_CLOSED = 0.5
"""Seconds between checks whether a client that closed its sending side is still connected; no event exists for that."""
LINGER = 5.0
"""Seconds for receiving the rest of a refused body."""
HEADERS_TIMEOUT = 60.0
"""Seconds for a request's headers after their first byte, against clients that send very slowly."""

Handler = Callable[[Request, "Exchange"], Awaitable[Reply | None]]

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_WITHOUT_BODY = frozenset({204, 304})
_ONCE = frozenset({"content-length", "transfer-encoding", "host"})
_END = b"\r\n\r\n"


class _Head:
    """Collects the first line and headers that httptools parses."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[str, str] = {}
        self.complete = False
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        if key in self.headers and key in _ONCE:
            raise BadRequest(f"malformed request: {key} is given twice")
        self.headers[key] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.complete = True

    def feed(self, data: bytes) -> None:
        """Parse data. Raises BadRequest for a malformed head."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # we use the parser for the headers only
        except httptools.HttpParserError as error:
            raise BadRequest(f"malformed request: {error}") from None


class Connection:
    """Serves the requests of one client in order, until it disconnects or a handler takes over the stream."""

    def __init__(self, stream: SocketStream, handler: Handler, *, server: str) -> None:
        self.stream, self._handler, self.server = stream, handler, server
        self._pending = b""
        self._ended = False

    async def serve(self) -> None:
        while True:
            try:
                head = await self._head()
                if head is None:
                    return
                exchange = Exchange(self, head)
            except HTTPError as error:
                await self._refuse(error)
                return
            await exchange.run(self._handler)
            if not exchange.keep_alive:
                return

    async def _head(self) -> _Head | None:
        """Read a request's head; None when the client disconnects before sending one. Raises HTTPError."""
        if not self._pending and not await self._fill():
            return None
        head, size, last = _Head(), 0, b""
        with anyio.move_on_after(HEADERS_TIMEOUT):
            while True:
                end = (last + self._pending).find(_END)
                cut = len(self._pending) if end < 0 else end + len(_END) - len(last)
                piece, self._pending = self._pending[:cut], self._pending[cut:]
                size += len(piece)
                if size > MAX_HEADERS:
                    raise HTTPError(431, f"the request's headers have more than {MAX_HEADERS} bytes")
                head.feed(piece)
                if end >= 0:
                    return head
                last = (last + piece)[-len(_END) + 1 :]
                if not await self._fill():
                    return None
        raise HTTPError(408, f"the request's headers did not arrive within {HEADERS_TIMEOUT:g} s")

    def give_back(self, data: bytes) -> None:
        """Put back bytes that belong to whatever follows."""
        self._pending = data + self._pending

    async def _fill(self) -> bool:
        """Wait for more bytes; False when the client has closed its side."""
        if self._ended:
            return False
        try:
            self._pending += await self.stream.receive(CHUNK)
        except (anyio.EndOfStream, anyio.BrokenResourceError, OSError):
            self._ended = True
            return False
        return True

    async def more(self) -> bytes:
        """The next bytes from the client, buffered ones first; b"" when it has closed its side."""
        if not self._pending and not await self._fill():
            return b""
        data, self._pending = self._pending, b""
        return data

    async def gone(self) -> None:
        """Return when the client has closed its connection (or its side of it); data that arrives meanwhile is kept."""
        while len(self._pending) < CHUNK:
            if not await self._fill():
                return
        await anyio.sleep_forever()

    async def write(self, data: bytes) -> None:
        """Send all of `data`. Raises ClientGone."""
        try:
            await self.stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            raise ClientGone from None

    async def _refuse(self, error: HTTPError) -> None:
        """Answer a malformed request and close the connection, because the start of the next request is unknown."""
        reply = Reply({"message": error.message}, status=error.status)
        try:
            await self.write(
                head(reply.status, {**reply.headers, "Connection": "close"}, len(reply.content)) + reply.content
            )
        except ClientGone:
            return


def head(status: int, headers: Mapping[str, str], length: int | None = None) -> bytes:
    """A status line and headers (RFC 9112 section 4); `length` of None leaves the framing to `headers`."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in sorted(headers.items())]
    if length is not None and status not in _WITHOUT_BODY:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


class Exchange:
    """The answer to one request. A handler returns a Reply, or it calls `begin` and `send`, or `hijack`, and returns
    None."""

    def __init__(self, connection: Connection, head: _Head) -> None:
        self._connection, self._headers, self._framing = connection, head.headers, framing(head.headers)
        try:
            url = httptools.parse_url(head.url)
        except httptools.HttpParserInvalidURLError:
            raise BadRequest("malformed request: invalid URL") from None
        self.request = Request(
            head.parser.get_method().decode(),
            unquote((url.path or b"/").decode("latin-1"), errors="surrogateescape"),
            (url.query or b"").decode("latin-1"),
            head.headers,
            self._body,
        )
        self.keep_alive = head.parser.should_keep_alive()
        self._http10 = head.parser.get_http_version() == "1.0"
        self._begun = self._chunked = self._asked = self.hijacked = False
        self.extra: dict[str, str] = {"Server": connection.server}
        """Headers of every answer."""

    async def _body(self) -> AsyncIterator[bytes]:
        if self._waits_for_continue():
            self._asked = True
            await self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not self._framing.complete:
            data = await self._connection.more()
            if not data:
                raise ClientGone
            content, rest = self._framing.take(data)
            if rest:
                self._connection.give_back(rest)
            if content:
                yield content

    async def run(self, handler: Handler) -> None:
        """Handle the request, and leave the connection ready for the next one or marked for closing."""
        try:
            reply = await handler(self.request, self)
            if reply is not None:
                await self.reply(reply)
            elif self._chunked:
                await self._connection.write(b"0\r\n\r\n")
            if not self.hijacked and self.keep_alive:
                await self._drain()
        except ClientGone:
            self.keep_alive = False
        except HTTPError as error:
            await self._failed(error)

    async def _failed(self, error: HTTPError) -> None:
        if self._begun:  # it is too late to report an error
            self.keep_alive = False
            return
        # A client that waits for 100 Continue does not send its body now. Any other is still sending, and would get a
        # broken connection before it could read the error.
        waits = self._waits_for_continue()
        self.keep_alive = self.keep_alive and not waits
        try:
            await self.reply(Reply({"message": error.message}, status=error.status))
            if not waits:
                with anyio.move_on_after(LINGER) as scope:
                    await self._drain()
                self.keep_alive = self.keep_alive and not scope.cancelled_caught
        except (ClientGone, HTTPError):
            self.keep_alive = False

    def _waits_for_continue(self) -> bool:
        expects = self._headers.get("expect", "").lower() == "100-continue"
        return expects and not self._framing.complete and not self._asked

    async def _drain(self) -> None:
        """Read the rest of an unused body, up to a limit, so that the next request can follow."""
        left = 16 * CHUNK
        async for part in self._body():
            left -= len(part)
            if left < 0:
                self.keep_alive = False
                return

    async def reply(self, reply: Reply) -> None:
        self._begun = True
        headers = {**self.extra, **reply.headers}
        if not self.keep_alive:
            headers["Connection"] = "close"
        data = head(reply.status, headers, len(reply.content))
        await self._connection.write(data if self.request.method == "HEAD" else data + reply.content)

    async def begin(self, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Send the headers of an answer; the body follows with `send`."""
        self._begun = True
        lines = {**self.extra, **(headers or {})}
        if self._http10:
            self.keep_alive = False
        else:
            self._chunked = True
            lines["Transfer-Encoding"] = "chunked"
        if not self.keep_alive:
            lines["Connection"] = "close"
        await self._connection.write(head(status, lines))

    async def send(self, data: bytes) -> None:
        """Send a part of the body; waits while the client does not read. Raises ClientGone."""
        if data:
            await self._connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    @property
    def upgrades(self) -> bool:
        """Whether the client requests a protocol upgrade."""
        return "upgrade" in self._headers.get("connection", "").lower() and "upgrade" in self._headers

    async def hijack(self, media: str, *, protocol: str = "", headers: Mapping[str, str] | None = None) -> Raw:
        """Turn the connection into a raw stream: 101 UPGRADED if the client requested that, else 200. No HTTP request
        can follow. Bytes that arrived with the request are the first of the stream.
        """
        async for _ in self._body():  # the unread rest of the body is not part of the stream
            pass
        if self.upgrades:
            named = protocol or self._headers["upgrade"]
            head_lines = ["HTTP/1.1 101 UPGRADED", f"Content-Type: {media}", "Connection: Upgrade", f"Upgrade: {named}"]
        else:
            head_lines = ["HTTP/1.1 200 OK", f"Content-Type: {media}"]
        if protocol:
            head_lines.remove(f"Content-Type: {media}")
        head_lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self._begun = self.hijacked = True
        self.keep_alive = False
        await self._connection.write("\r\n".join([*head_lines, "", ""]).encode())
        return Raw(self._connection)

    def gone(self) -> Awaitable[None]:
        """Return when the client has disconnected; await it concurrently with a long answer."""
        return self._connection.gone()


class Raw:
    """The raw two-way stream of a hijacked connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.socket = connection.stream

    async def receive(self) -> bytes:
        """Bytes from the client; b"" when it has closed its side."""
        return await self._connection.more()

    async def send(self, data: bytes) -> None:
        await self._connection.write(data)

    async def gone(self) -> None:
        """Return when the client has closed the connection, not only its side of it; data that arrives meanwhile is
        kept."""
        await self._connection.gone()
        poll = select.poll()
        poll.register(self._connection.stream.extra(SocketAttribute.raw_socket), 0)
        while not any(event & select.POLLHUP for _, event in poll.poll(0)):
            await anyio.sleep(HALF_CLOSED)

    def unread(self) -> int:
        """Bytes sent that the client has not yet read (SIOCOUTQ, unix(7)); 0 when it has disconnected."""
        sock = self._connection.stream.extra(SocketAttribute.raw_socket)
        try:
            return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except OSError:
            return 0

    async def end(self) -> None:
        """Close our side; the client can continue to send."""
        try:
            await self._connection.stream.send_eof()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            return

    async def close(self) -> None:
        """Close both sides; sending then raises ClientGone."""
        await self._connection.stream.aclose()
