"""The keeper's side of the shipper (engine.log.ship): starts it when needed, and again when it dies."""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
import time
from collections import deque

from engine.keeper.container import Container

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from engine.log.settings import Order, ShipOrder

PAUSE = 1.0
"""Seconds between two starts of a shipper that keeps dying."""

MAX_WAITING = 1000
"""Messages after which files stay uncompressed."""


class _Log:
    """The shipper's information about one container's log."""

    def __init__(self, message: ShipOrder) -> None:
        self.message, self.ended = message, False


class Shipping:
    """Sends messages to the shipper. Never blocks: messages that it does not accept now wait for the next `tend`."""

    def __init__(self, loop: selectors.BaseSelector) -> None:
        self.pid = 0
        self._loop = loop
        self._logs: dict[str, _Log] = {}
        self._sock: socket.socket | None = None
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._last_start = -PAUSE

    def ship(self, container: Container) -> None:
        """Ship the container's log, if its driver is remote."""
        settings = container.bundle["log"]
        log = container.streams.log
        wanted = settings.get("ship")
        if wanted and log:
            folder = settings["folder"]
            message: ShipOrder = {"do": "ship", "folder": folder, "number": log.number, "ship": wanted}
            self._logs[folder] = _Log(message)
            self._put(message, log.fd)

    def ended(self, container: Container) -> None:
        folder = container.bundle["log"].get("folder")
        if folder in self._logs:
            self._logs[folder].ended = True
            self._put({"do": "end", "folder": folder})

    def compress(self, path: str) -> None:
        if len(self._waiting) < MAX_WAITING:
            self._put({"do": "compress", "path": path})

    def died(self) -> None:
        """The shipper was killed: start another, which continues all unfinished logs."""
        self.pid = 0
        self._forget()
        for _, fd in self._waiting:
            if fd >= 0:
                os.close(fd)
        self._waiting.clear()
        for folder, log in self._logs.items():
            self._put(log.message)
            if log.ended:
                self._put({"do": "end", "folder": folder})

    def leave(self) -> None:
        if self._sock:
            self._put({"do": "leave"})
            self._sock.settimeout(1.0)
            self.tend()
            self._forget()

    def _forget(self) -> None:
        if self._sock:
            self._loop.unregister(self._sock)
            self._sock.close()
            self._sock = None

    @property
    def due(self) -> float:
        """When to call `tend`, 0 for no need."""
        return time.monotonic() + 0.2 if self._waiting else 0.0

    def tend(self) -> None:
        """Send queued messages."""
        while self._waiting:
            if self._sock is None:
                if self.pid or time.monotonic() < self._last_start + PAUSE:
                    return
                try:
                    self._start()
                except OSError as error:
                    print(f"log: start the shipper: {error.strerror}", file=sys.stderr, flush=True)
                    return
            data, fd = self._waiting[0]
            try:
                self._send(data, fd)
            except BlockingIOError:
                return
            except OSError:
                return  # it has died; `died` is called next
            self._waiting.popleft()
            if fd >= 0:
                os.close(fd)

    def _put(self, message: Order, fd: int = -1) -> None:
        """`fd`: the log file that is being written; the shipper gets its own descriptor for reading."""
        if fd >= 0:
            try:
                fd = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                fd = -1  # no descriptors left: the shipper opens it by its name
        self._waiting.append((json.dumps(message).encode(), fd))
        self.tend()

    def _send(self, data: bytes, fd: int) -> None:
        assert self._sock
        socket.send_fds(self._sock, [data], [fd] if fd >= 0 else [], socket.MSG_NOSIGNAL)

    def _start(self) -> None:
        self._last_start = time.monotonic()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        tree = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        argv = [sys.executable, "-I", "-S", f"{tree}/engine/log/ship/main.py", tree]
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            self.pid = os.posix_spawn(
                sys.executable,
                argv,
                {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0), (os.POSIX_SPAWN_DUP2, null, 1)],
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(null)
        self._sock = ours
        self._loop.register(ours, selectors.EVENT_READ, self._receive)

    def _receive(self, sock: socket.socket) -> None:
        """{"done": folder}: the whole log of an exited container has been sent."""
        try:
            data = sock.recv(65536)
        except OSError:
            return
        if not data:  # it has died; `died` is called next
            self._forget()
            return
        folder = json.loads(data)["done"]
        if folder in self._logs and self._logs[folder].ended:
            del self._logs[folder]
