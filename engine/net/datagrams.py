"""Datagram sockets with low-latency answers. A turn of the event loop takes as long as a short answer, so
these sockets have a separate epoll(7), which the loop watches: when it is readable, we answer all queued datagrams, and
briefly wait for more.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from typing import Any

from engine.kernel import calls
from engine.readable import Readable

BURST = 32
"""Datagrams of one socket answered before the next socket's turn."""

TURN = 0.001
"""Seconds after which the event loop continues with other work."""

LINGER = 0.0003
"""Seconds to wait for the next datagram, so that a client that asks one question after another need not wait for turns
of the loop."""

AT_ONCE = 0.00001
"""Seconds: after a shorter wait, more datagrams are expected at once. Reading without success, an exception, costs more
than waiting."""

Answer = Callable[[bytes, Any], None]
"""Called with a datagram and its sender's address."""


class Datagrams:
    """The epoll(7) of these sockets, open while there are any."""

    def __init__(self) -> None:
        self._sockets: dict[int, tuple[socket.socket, Answer]] = {}
        self._epoll: select.epoll | None = None
        self._registered: Readable | None = None

    def add(self, sock: socket.socket, answer: Answer) -> None:
        """Call `answer` for each datagram of the non-blocking `sock`, until `remove`."""
        if self._epoll is None:
            calls.wake_promptly()  # beside busy processes, an answer takes most of its time until we are on the processor
            self._epoll = select.epoll()
            self._registered = Readable(self._epoll, self._serve)
        self._sockets[sock.fileno()] = sock, answer
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def remove(self, sock: socket.socket) -> None:
        """Stop watching; call it before closing `sock`."""
        del self._sockets[sock.fileno()]
        if self._epoll is not None:
            self._epoll.unregister(sock.fileno())
            if not self._sockets and self._registered is not None:
                self._registered.close()
                self._epoll = self._registered = None

    def _serve(self) -> None:
        now, sockets = time.perf_counter, self._sockets
        until, wait, burst = now() + TURN, 0.0, 1
        while self._epoll is not None and (begun := now()) < until:
            ready = self._epoll.poll(wait)
            if not ready:
                return
            burst = min(4 * burst, BURST) if now() - begun < AT_ONCE else 1
            for fd, _ in ready:
                if fd in sockets:  # an earlier answer may have removed it
                    _answer(*sockets[fd], burst)
            wait = LINGER


def _answer(sock: socket.socket, answer: Answer, burst: int) -> None:
    for _ in range(burst):
        try:
            data, peer = sock.recvfrom(4096)
        except BlockingIOError:
            return
        except OSError:
            continue  # the peer of an earlier answer has closed its socket
        answer(data, peer)
