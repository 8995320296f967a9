"""The keeper's socket: accepts connections, reads frames, and sends answers and events without ever waiting for a peer."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Mapping

from engine import control
from engine.keeper.failures import Failures
from engine.keeper.protocol import Channel, Message

REQUESTS = 0.01
"""Seconds per turn for one client's requests."""

ACCEPT_PAUSE = 0.1
"""Seconds without accepting connections after descriptors ran out."""


class Client:
    """One connection, and its roles: a watcher of all exits, the supervisor, the owner of the keeper."""

    def __init__(self, sock: socket.socket) -> None:
        self.channel = Channel(sock)
        self.watching = False
        self.supervises = False
        self.owns = False
        self.attached: set[str] = set()
        """Containers whose exit event it gets."""


class Server:
    """`handle` is called with each request and its descriptors, which it then owns; `dropped` with a client that disconnected."""

    def __init__(
        self,
        loop: selectors.BaseSelector,
        failures: Failures,
        handle: Callable[[Client, Message, list[int]], None],
        dropped: Callable[[Client], None],
    ) -> None:
        self.clients: set[Client] = set()
        self._loop, self._failures = loop, failures
        self._handle, self._dropped = handle, dropped
        self._backlog: set[Client] = set()
        self._paused: socket.socket | None = None
        self.due = 0.0
        """When `tend` has something to do; 0: never."""

    def listen(self, path: str) -> None:
        listener = control.listen(path)
        listener.setblocking(False)
        self._loop.register(listener, selectors.EVENT_READ, self._accept)

    @property
    def busy(self) -> bool:
        """Whether requests that have been read wait for `turn`."""
        return bool(self._backlog)

    def turn(self) -> None:
        for client in list(self._backlog):
            try:
                self._read(client)
            except Exception:
                self._failures.survive()

    def tend(self) -> None:
        """Accept connections again after a pause."""
        if self._paused and time.monotonic() >= self.due:
            self._loop.register(self._paused, selectors.EVENT_READ, self._accept)
            self._paused, self.due = None, 0.0

    def send(self, client: Client, message: Mapping[str, object], descriptors: tuple[int, ...] = ()) -> None:
        """Send; the caller keeps the descriptors. Nothing is sent to a client that has disconnected."""
        if client not in self.clients:
            return
        try:
            if not client.channel.post(message, descriptors):
                both = selectors.EVENT_READ | selectors.EVENT_WRITE
                self._loop.modify(client.channel.sock, both, lambda _: self._read(client))
        except OSError:
            self._drop(client)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptors or no memory: connections wait in the socket's queue
            self._loop.unregister(listener)
            self._paused, self.due = listener, time.monotonic() + ACCEPT_PAUSE
            return
        if not control.peer_is_us(sock):
            sock.close()
            return
        sock.setblocking(False)
        client = Client(sock)
        self.clients.add(client)
        self._loop.register(sock, selectors.EVENT_READ, lambda _: self._read(client))

    def _read(self, client: Client) -> None:
        """Send queued answers, then read requests, but only for a limited time, so that many requests do not delay output."""
        channel = client.channel
        open_still = True
        self._backlog.discard(client)
        try:
            if channel.waiting and channel.flush():
                self._loop.modify(channel.sock, selectors.EVENT_READ, lambda _: self._read(client))
            try:
                open_still = channel.feed()
            except BlockingIOError:
                pass
            until = time.monotonic() + REQUESTS
            while (found := channel.take()) is not None:
                self._handle(client, *found)
                if client not in self.clients:
                    return
                if open_still and time.monotonic() > until:
                    self._backlog.add(client)
                    return
        except (OSError, ValueError):
            open_still = False
        if not open_still:
            self._drop(client)

    def _drop(self, client: Client) -> None:
        if client not in self.clients:
            return
        self.clients.discard(client)
        self._backlog.discard(client)
        self._loop.unregister(client.channel.sock)
        client.channel.close()
        self._dropped(client)
