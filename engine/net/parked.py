"""Bound sockets that take no descriptors: they wait in an AF_UNIX socket's queue (unix(7), SCM_RIGHTS). The kernel keeps
their ports from other programs until the queue is closed."""

from __future__ import annotations

import array
import contextlib
import socket

from engine.kernel import socket_filter

_SEND_BUFFER_FORCE, _SEND_BUFFER = 32, 4 << 20


class Parked:
    """A queue: one descriptor, however many sockets wait."""

    def __init__(self) -> None:
        self._queue: socket.socket | None = None
        self._entrance: socket.socket | None = None

    def add(self, sockets: list[socket.socket]) -> bool:
        """Park at most flags.SCM_MAX_FD sockets, which no longer receive anything, and close them here. False if the kernel
        refuses, as it does with more than the limit of descriptors without CAP_SYS_RESOURCE."""
        for sock in sockets:
            socket_filter.drop_all(sock)
        if self._entrance is None:
            self._queue, self._entrance = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            self._entrance.setblocking(False)
            with contextlib.suppress(OSError):
                self._entrance.setsockopt(socket.SOL_SOCKET, _SEND_BUFFER_FORCE, _SEND_BUFFER)
        rights = array.array("i", [sock.fileno() for sock in sockets])
        try:
            self._entrance.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        except OSError:
            return False
        for sock in sockets:
            sock.close()
        return True

    def seal(self) -> None:
        """Nothing more is added."""
        if self._entrance is not None:
            self._entrance.close()
            self._entrance = None

    def close(self) -> None:
        """Free the ports."""
        self.seal()
        if self._queue is not None:
            self._queue.close()
            self._queue = None
