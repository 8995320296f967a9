"""The supervisor's end of one command's connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque

from composer.run import protocol
from composer.run.cancellation import readable, writable
from composer.run.protocol import Event, Frames, Go, Request

CHUNK = 65536
PATIENCE = 5.0
"""Seconds that a command has to read the end of what it was told, before it is left alone."""


class Connection:
    """Requests come in, events go out. A command that does not read (Ctrl-Z) never holds the supervisor up: what it has
    not read waits here."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._frames, self._received = Frames(), deque[bytes]()
        self._out = bytearray()
        self._open = True

    async def receive(self) -> Request | Go | None:
        """The next thing that the command says, None when it has hung up (or talks nonsense)."""
        while not self._received:
            try:
                data = self.sock.recv(CHUNK)
            except BlockingIOError:
                await readable(self.sock)
                continue
            except OSError:
                return None
            if not data:
                return None
            try:
                self._received.extend(self._frames.feed(data))
            except ValueError:
                return None
        try:
            return protocol.request_of(self._received.popleft())
        except ValueError:
            return None

    def tell(self, event: Event) -> None:
        """Send it soon, together with what else is told in this moment, or when the command reads again."""
        if self._open:
            if not self._out:
                asyncio.get_running_loop().call_soon(self._flush)
            self._out += protocol.frame(event)

    def _flush(self) -> None:
        try:
            while self._out:
                del self._out[: self.sock.send(self._out, socket.MSG_NOSIGNAL)]
        except BlockingIOError:
            return
        except OSError:
            self._open = False
            self._out.clear()

    async def drain(self) -> None:
        """Wait until everything has been taken, but not for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                self._flush()
                while self._out:
                    await writable(self.sock)
                    self._flush()

    def close(self) -> None:
        self._open = False
        self.sock.close()
