"""Who is attached to which container: their sockets in the loop, output to them and input from them."""

from __future__ import annotations

import selectors
import socket

from engine.keeper.container import Container
from engine.keeper.listener import Listener


class Attachments:
    def __init__(self, loop: selectors.BaseSelector) -> None:
        self._loop = loop
        self.parting: set[Listener] = set()
        """Of containers that have ended: those that still have output to take."""

    def attach(self, container: Container, sock: socket.socket, *, stdin: bool) -> None:
        def waits(listener: Listener, waiting: bool) -> None:
            self._listen(container, listener, waiting)

        listener = Listener(sock, framed=not container.tty, waits=waits)
        listener.reads = stdin and container.takes_input
        container.attach(listener)
        self._listen(container, listener, False)

    def ended(self, container: Container) -> None:
        """The container has ended: its listeners go when they have taken what there is."""
        for listener in list(container.listeners):
            listener.reads = False
            self.parting.add(listener)
            self._listen(container, listener, listener.waiting)

    def input_waits(self, container: Container, waiting: bool) -> None:
        """The container's input takes no more for now, or takes more again."""
        if waiting:
            self._loop.register(container.input.fd, selectors.EVENT_WRITE, lambda _: self._flush_input(container))
        else:
            self._loop.unregister(container.input.fd)

    def _flush_input(self, container: Container) -> None:
        container.input.flush()
        if not container.input.full:
            for listener in container.listeners:
                self._listen(container, listener, listener.waiting)

    def _listen(self, container: Container, listener: Listener, waiting: bool) -> None:
        """Watch for what the listener's socket is wanted for now: more room for output, input, or nothing."""
        reads = listener.reads and not container.input.full
        wanted = (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if waiting else 0)
        if listener in self._loop.get_map():
            self._loop.unregister(listener)
        if wanted:
            self._loop.register(listener, wanted, lambda _: self._ready(container, listener))
        elif listener in self.parting:
            self._part(container, listener)
        if not waiting:
            container.relieve()

    def _ready(self, container: Container, listener: Listener) -> None:
        listener.flush()
        if listener.gone:
            self._part(container, listener)
        elif listener.reads:
            self._read(container, listener)

    def _read(self, container: Container, listener: Listener) -> None:
        try:
            data = listener.sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            container.input.feed(data)
            if not container.input.full:
                return
        else:
            listener.reads = False
            if container.stdin_once:
                container.input.end()
        self._listen(container, listener, listener.waiting)

    def _part(self, container: Container, listener: Listener) -> None:
        if listener in self._loop.get_map():
            self._loop.unregister(listener)
        self.parting.discard(listener)
        container.detach(listener)
