"""The keeper's side of the shipper (engine.log.ship): started when it is needed, started again when it dies."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Iterable

from engine.keeper.container import Container

PAUSE = 1.0
"""Seconds between two starts of a shipper that keeps dying."""

MAX_WAITING = 10_000


class Shipping:
    """Messages to the shipper. Nothing here blocks: what it does not take now waits for the next `tend`."""

    def __init__(self) -> None:
        self.pid = 0
        self._sock: socket.socket | None = None
        self._waiting: deque[tuple[bytes, str]] = deque(maxlen=MAX_WAITING)
        self._last_start = -PAUSE

    def ship(self, container: Container) -> None:
        """Send the container's log on, when its driver is a remote one."""
        settings = container.bundle["log"]
        if settings.get("ship") and container.log:
            message = {"do": "ship", "folder": settings["folder"], "ship": settings["ship"]}
            self._put(message, container.log.path)

    def ended(self, container: Container) -> None:
        settings = container.bundle["log"]
        if settings.get("ship"):
            self._put({"do": "end", "folder": settings["folder"]})

    def compress(self, path: str) -> None:
        self._put({"do": "compress", "path": path})

    def died(self, containers: Iterable[Container]) -> None:
        """It was killed: another one goes on with those that live."""
        self.pid = 0
        if self._sock:
            self._sock.close()
            self._sock = None
        for container in containers:
            self.ship(container)

    def leave(self) -> None:
        if self._sock:
            self._put({"do": "leave"})
            self._sock.setblocking(True)
            self._sock.settimeout(1.0)
            self.tend()
            self._sock.close()

    @property
    def due(self) -> float:
        """When to call `tend`, 0 for no need."""
        return time.monotonic() + 0.2 if self._waiting else 0.0

    def tend(self) -> None:
        """Pass on what waits."""
        while self._waiting:
            if self._sock is None:
                if time.monotonic() < self._last_start + PAUSE:
                    return
                self._start()
            data, path = self._waiting[0]
            try:
                self._send(data, path)
            except BlockingIOError:
                return
            except OSError:
                if self._sock:  # it has died; `died` is about to be told
                    return
            self._waiting.popleft()

    def _put(self, message: dict[str, object], path: str = "") -> None:
        self._waiting.append((json.dumps(message).encode(), path))
        self.tend()

    def _send(self, data: bytes, path: str) -> None:
        assert self._sock
        if not path:
            self._sock.send(data, socket.MSG_NOSIGNAL)
            return
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            socket.send_fds(self._sock, [data], [fd], socket.MSG_NOSIGNAL)
        finally:
            os.close(fd)

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
