"""Clients attached to containers: their sockets in the event loop, output to them and input from them."""

from __future__ import annotations

import selectors
import socket

from engine.keeper.listener import Listener
from engine.keeper.streams import Streams


class Attachments:
    def __init__(self, loop: selectors.BaseSelector) -> None:
        self._loop = loop
        self.parting: set[Listener] = set()
        """Listeners of exited containers that have not yet received all output."""

    def attach(self, streams: Streams, sock: socket.socket, *, stdin: bool) -> None:
        def waits(listener: Listener, waiting: bool) -> None:
            self._listen(streams, listener, waiting)

        listener = Listener(sock, framed=not streams.tty, waits=waits)
        listener.reads = stdin and streams.takes_input
        streams.attach(listener)
        self._listen(streams, listener, False)

    def ended(self, streams: Streams) -> None:
        """The container has exited: its listeners are closed once they have received the remaining output."""
        for listener in list(streams.listeners):
            listener.reads = False
            self.parting.add(listener)
            self._listen(streams, listener, listener.waiting)

    def input_waits(self, streams: Streams, waiting: bool) -> None:
        """The program's input is full, or accepts data again."""
        if waiting:
            self._loop.register(streams.input.fd, selectors.EVENT_WRITE, lambda _: self._flush_input(streams))
        else:
            self._loop.unregister(streams.input.fd)

    def _flush_input(self, streams: Streams) -> None:
        streams.input.flush()
        if not streams.input.full:
            for listener in streams.listeners:
                self._listen(streams, listener, listener.waiting)

    def _listen(self, streams: Streams, listener: Listener, waiting: bool) -> None:
        """Watch the listener's socket for what is currently needed: room for output, input, or nothing."""
        reads = listener.reads and not streams.input.full
        wanted = (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if waiting else 0)
        if listener in self._loop.get_map():
            self._loop.unregister(listener)
        if wanted:
            self._loop.register(listener, wanted, lambda _: self._ready(streams, listener))
        elif listener in self.parting:
            self._part(streams, listener)
        if not waiting:
            streams.resume_if_possible()

    def _ready(self, streams: Streams, listener: Listener) -> None:
        listener.flush()
        if listener.closed:
            self._part(streams, listener)
        elif listener.reads:
            self._read(streams, listener)

    def _read(self, streams: Streams, listener: Listener) -> None:
        try:
            data = listener.sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            streams.input.feed(data)
            if not streams.input.full:
                return
        else:
            listener.reads = False
            if streams.stdin_once:
                streams.input.end()
        self._listen(streams, listener, listener.waiting)

    def _part(self, streams: Streams, listener: Listener) -> None:
        if listener in self._loop.get_map():
            self._loop.unregister(listener)
        self.parting.discard(listener)
        streams.detach(listener)
