"""The answer to one request: a Reply, a streamed body, or the raw stream after an upgrade."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from urllib.parse import unquote

import anyio
import httptools

from composer.serve.http.channel import CHUNK, Channel
from composer.serve.http.errors import BadRequest, ClientGone, HTTPError
from composer.serve.http.framing import framing
from composer.serve.http.parser import RequestHead
from composer.serve.http.raw import Raw
from composer.serve.http.request import WRONG_ESCAPE, Reply, Request

LINGER = 5.0
"""Seconds for receiving the rest of a refused body."""

Handler = Callable[[Request, "Exchange"], Awaitable[Reply | None]]

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_WITHOUT_BODY = frozenset({204, 304})


def response_head(status: int, headers: Mapping[str, str], length: int | None = None, version: str = "1.1") -> bytes:
    """A status line and headers (RFC 9112 section 4); `length` of None leaves the framing to `headers`."""
    lines = [f"HTTP/{version} {status} {_REASONS.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in sorted(headers.items())]
    if length is not None and status not in _WITHOUT_BODY:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


class Exchange:
    """The answer to one request. A handler returns a Reply, or it calls `begin` and `send`, or `hijack`, and returns
    None."""

    def __init__(self, channel: Channel, head: RequestHead, *, server: str) -> None:
        self._channel, self._headers, self._framing = channel, head.headers, framing(head.headers)
        try:
            url = httptools.parse_url(head.url)
        except httptools.HttpParserInvalidURLError:
            raise BadRequest("malformed request: invalid URL") from None
        path = (url.path or b"/").decode("latin-1")
        if wrong := WRONG_ESCAPE.search(path):
            raise BadRequest(f'malformed request: invalid URL escape "{wrong[0]}"')
        self.request = Request(
            head.parser.get_method().decode(),
            unquote(path, errors="surrogateescape"),
            (url.query or b"").decode("latin-1"),
            head.headers,
            self._body,
        )
        self.keep_alive = head.keep_alive
        self._version = head.version
        self._begun = self._chunked = self._expect_sent = self.hijacked = False
        self.extra: dict[str, str] = {"Server": server}
        """Headers of every answer."""

    async def _body(self) -> AsyncIterator[bytes]:
        if self._waits_for_continue():
            self._expect_sent = True
            await self._channel.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not self._framing.complete:
            data = await self._channel.more()
            if not data:
                raise ClientGone
            content, rest = self._framing.take(data)
            if rest:
                self._channel.give_back(rest)
            if content:
                yield content

    async def run(self, handler: Handler) -> None:
        """Handle the request, and leave the connection ready for the next one or marked for closing."""
        try:
            reply = await handler(self.request, self)
            if reply is not None:
                await self.reply(reply)
            elif self._chunked:
                await self._channel.write(b"0\r\n\r\n")
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
        return expects and not self._framing.complete and not self._expect_sent

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
        headers = self._with_connection({**self.extra, **reply.headers})
        data = response_head(reply.status, headers, len(reply.content), self._version)
        await self._channel.write(data if self.request.method == "HEAD" else data + reply.content)

    async def begin(self, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Send the headers of an answer; the body follows with `send`."""
        self._begun = True
        lines = {**self.extra, **(headers or {})}
        if self._version == "1.0":
            self.keep_alive = False
        else:
            self._chunked = True
            lines["Transfer-Encoding"] = "chunked"
        await self._channel.write(response_head(status, self._with_connection(lines), version=self._version))

    def _with_connection(self, headers: dict[str, str]) -> dict[str, str]:
        """The headers, and Connection unless it would state the version's default."""
        if self.keep_alive != (self._version == "1.1"):
            headers["Connection"] = "keep-alive" if self.keep_alive else "close"
        return headers

    async def send(self, data: bytes) -> None:
        """Send a part of the body; waits while the client does not read. Raises ClientGone."""
        if data:
            await self._channel.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

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
        await self._channel.write("\r\n".join([*head_lines, "", ""]).encode())
        return Raw(self._channel)

    def disconnected(self) -> Awaitable[None]:
        """Return when the client has disconnected; await it concurrently with a long answer."""
        return self._channel.disconnected()
