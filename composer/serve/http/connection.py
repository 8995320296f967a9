"""One client's connection: requests, answers, and the raw stream after an upgrade.

bytes ─▶ parser ─▶ Request ─▶ handler ─▶ Reply │ Exchange.begin/send │ Exchange.hijack ─▶ bytes
"""

from __future__ import annotations

import anyio
from anyio.abc import SocketStream

from composer.serve.http.channel import Channel
from composer.serve.http.errors import ClientGone, HTTPError
from composer.serve.http.exchange import Exchange, Handler, response_head
from composer.serve.http.parser import END, MAX_HEADERS, RequestHead
from composer.serve.http.request import Reply

HEADERS_TIMEOUT = 60.0
"""Seconds for a request's headers after their first byte, against clients that send very slowly."""


class Connection:
    """Serves the requests of one client in order, until it disconnects or a handler takes over the stream."""

    def __init__(self, stream: SocketStream, handler: Handler, *, server: str) -> None:
        self._channel, self._handler, self._server = Channel(stream), handler, server

    async def serve(self) -> None:
        while True:
            try:
                head = await self._head()
                if head is None:
                    return
                exchange = Exchange(self._channel, head, server=self._server)
            except HTTPError as error:
                await self._refuse(error)
                return
            await exchange.run(self._handler)
            if not exchange.keep_alive:
                return

    async def _head(self) -> RequestHead | None:
        """Read a request's head; None when the client disconnects before sending one. Raises HTTPError."""
        if not self._channel.pending and not await self._channel.fill():
            return None
        head, size, last = RequestHead(), 0, b""
        with anyio.move_on_after(HEADERS_TIMEOUT):
            while True:
                end = (last + self._channel.pending).find(END)
                cut = len(self._channel.pending) if end < 0 else end + len(END) - len(last)
                piece, self._channel.pending = self._channel.pending[:cut], self._channel.pending[cut:]
                size += len(piece)
                if size > MAX_HEADERS:
                    raise HTTPError(431, f"the request's headers have more than {MAX_HEADERS} bytes")
                head.feed(piece)
                if end >= 0:
                    head.check()
                    return head
                last = (last + piece)[-len(END) + 1 :]
                if not await self._channel.fill():
                    return None
        raise HTTPError(408, f"the request's headers did not arrive within {HEADERS_TIMEOUT:g} s")

    async def _refuse(self, error: HTTPError) -> None:
        """Answer a malformed request and close the connection, because the start of the next request is unknown."""
        reply = Reply({"message": error.message}, status=error.status)
        try:
            await self._channel.write(
                response_head(reply.status, {**reply.headers, "Connection": "close"}, len(reply.content))
                + reply.content
            )
        except ClientGone:
            return
