"""A client attached to a container's output, over a stream socket that may be slow."""

from __future__ import annotations

import socket
from collections.abc import Callable

LIMIT = 1 << 20
"""Bytes queued for one listener before the container's output is no longer read, as in Docker."""


class Listener:
    """`reads`: its input is sent to the container. `waits` is called when the socket is full, and again with False when
    all queued output has been sent."""

    def __init__(self, sock: socket.socket, *, framed: bool, waits: Callable[[Listener, bool], None]) -> None:
        self.sock, self._framed, self._waits = sock, framed, waits
        self._waiting = bytearray()
        self.closed = self.reads = False
        sock.setblocking(False)

    def fileno(self) -> int:
        return self.sock.fileno()

    @property
    def waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        return len(self._waiting) > LIMIT

    def enqueue(self, stream: str, data: bytes) -> None:
        """Docker's attach multiplexing for pipes (8-byte header), raw bytes for a terminal. Never blocks."""
        if self._framed:
            data = bytes((1 if stream == "stdout" else 2, 0, 0, 0)) + len(data).to_bytes(4, "big") + data
        if self._waiting:
            self._waiting += data
            return
        sent = self._send(data)
        if sent < len(data) and not self.closed:
            self._waiting += data[sent:]
            self._waits(self, True)

    def flush(self) -> None:
        """Send queued output, when the socket accepts data again."""
        if self._waiting:
            del self._waiting[: self._send(self._waiting)]
            if not self._waiting:
                self._waits(self, False)

    def close(self) -> None:
        self.closed = True
        self._waiting.clear()
        self.sock.close()

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return self.sock.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError:
            self.closed = True
            self._waiting.clear()
            return 0
