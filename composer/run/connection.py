"""The supervisor's end of one command's connection."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Coroutine

from composer.run import protocol
from composer.run.cancellation import readable, writable
from composer.run.protocol import Event, Frames, Go, Request
from engine.control import peer_is_stopped

CHUNK = 65536
PATIENCE = 5.0
"""Seconds that a stopped command (Ctrl-Z) has to go on, before it is left alone."""
LOOKS = 12
"""So many times PATIENCE has one that is slow, or whose own output nobody takes."""


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
        await self.patiently(self._taken())

    async def _taken(self) -> None:
        self._flush()
        while self._out:
            await writable(self.sock)
            self._flush()

    async def patiently(self, step: Coroutine[object, object, None]) -> None:
        """Wait for a step of the command's, as long as it can be expected to take it."""
        task = asyncio.ensure_future(step)
        try:
            for _ in range(LOOKS):
                done, _ = await asyncio.wait({task}, timeout=PATIENCE)
                if done:
                    return task.result()
                if peer_is_stopped(self.sock):
                    return
        finally:
            task.cancel()

    def close(self) -> None:
        self._open = False
        self.sock.close()
