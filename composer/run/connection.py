"""The supervisor's end of one command's connection."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Awaitable, Callable

import anyio
from anyio import CancelScope, create_task_group, sleep, wait_readable, wait_writable

from composer.run import protocol
from composer.run.protocol import Event, Frames, Go, Request
from engine.control import peer_is_stopped

CHUNK = 65536
PATIENCE = 5.0
"""Seconds that we wait for a stopped command (Ctrl-Z) to continue."""
LOOKS = 12
"""How many times PATIENCE we wait for a command that is slow, or whose own output is blocked."""


class Connection:
    """Receives requests and sends events. A command that does not read (Ctrl-Z) never blocks the supervisor, because its
    events are queued here."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._frames, self._received = Frames(), deque[bytes]()
        self._out = bytearray()
        self._queued = anyio.Event()
        self._open = True

    async def receive(self) -> Request | Go | None:
        """The command's next message; None when it has hung up or sent something invalid."""
        while not self._received:
            try:
                data = self.sock.recv(CHUNK)
            except BlockingIOError:
                await wait_readable(self.sock)
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

    def send(self, event: Event) -> None:
        """Queue an event. It is sent soon, together with others, or when the command reads again."""
        if self._open:
            self._out += protocol.frame(event)
            self._queued.set()

    async def write(self) -> None:
        """Send queued events until cancelled. Runs as a task beside the one that produces events."""
        while True:
            await self._queued.wait()
            self._queued = anyio.Event()
            await self._flush()

    async def _flush(self) -> None:
        while self._out:
            try:
                del self._out[: self.sock.send(self._out, socket.MSG_NOSIGNAL)]
            except BlockingIOError:
                await wait_writable(self.sock)
            except OSError:
                self._open = False
                self._out.clear()

    async def drain(self) -> None:
        """Wait, for a limited time, until the command has read everything. `write` must have ended."""
        await self.wait_for_peer(self._flush)

    async def wait_for_peer(self, step: Callable[[], Awaitable[object]]) -> None:
        """Wait for an action of the command, for as long as it can reasonably take."""
        async with create_task_group() as tasks:
            tasks.start_soon(self._cancel_when_late, tasks.cancel_scope)
            await step()
            tasks.cancel_scope.cancel()

    async def _cancel_when_late(self, scope: CancelScope) -> None:
        for _ in range(LOOKS):
            await sleep(PATIENCE)
            if peer_is_stopped(self.sock):
                break
        scope.cancel()

    def close(self) -> None:
        self._open = False
        self.sock.close()
