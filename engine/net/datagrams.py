"""Datagram sockets that are answered at once, apart from the event loop's other work.

A turn of the event loop takes as long as a short answer does. So these sockets have an epoll(7) of their own, which the loop
watches: when something has come, all that is there is answered, and for a moment also what comes next.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from typing import Any

from engine.readable import Readable

BURST = 32
"""Datagrams of one socket answered before the others have their turn."""

TURN = 0.001
"""Seconds after which the loop's other work has its turn."""

LINGER = 0.0003
"""Seconds that the next datagram is waited for: who asks one question after the other waits for no turn of the loop then."""

Answer = Callable[[bytes, Any], None]
"""Is called with a datagram and where it came from."""


class Datagrams:
    """Open as long as it has sockets."""

    def __init__(self) -> None:
        self._sockets: dict[int, tuple[socket.socket, Answer]] = {}
        self._epoll: select.epoll | None = None
        self._registered: Readable | None = None

    def add(self, sock: socket.socket, answer: Answer) -> None:
        """Call `answer` for each datagram of the non-blocking `sock`, until `remove`."""
        if self._epoll is None:
            self._epoll = select.epoll()
            self._registered = Readable(self._epoll, self._serve)
        self._sockets[sock.fileno()] = sock, answer
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def remove(self, sock: socket.socket) -> None:
        """To be called before `sock` is closed."""
        del self._sockets[sock.fileno()]
        if self._epoll is not None:
            self._epoll.unregister(sock.fileno())
            if not self._sockets and self._registered is not None:
                self._registered.close()
                self._epoll = self._registered = None

    def _serve(self) -> None:
        now = time.perf_counter
        until, wait = now() + TURN, 0.0
        while self._epoll is not None and now() < until:
            ready = self._epoll.poll(wait)
            if not ready:
                return
            for fd, _ in ready:
                if fd in self._sockets:  # an earlier answer may have removed it
                    _answer(*self._sockets[fd])
            wait = LINGER


def _answer(sock: socket.socket, answer: Answer) -> None:
    for _ in range(BURST):
        try:
            data, peer = sock.recvfrom(4096)
        except BlockingIOError:
            return
        except OSError:
            continue  # the peer of an earlier answer has gone
        answer(data, peer)
