"""The output of containers without stored logs, for `up` in the foreground, which attaches to them.

supervisor ──Ready──▶ attach ──▶ keeper       before the program starts, so that nothing is missed
                        thread: frames ──▶ buffered entries ──▶ Follower.read
"""

from __future__ import annotations

import codecs
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from composer.cli.terminal import attach_frames
from engine.errors import EngineError
from engine.spec.stream import LogEntry

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.plan.desired import Desired
    from composer.run.handles import Process
    from engine.spec.state import ContainerRecord

LIMIT = 64 << 20
"""Bytes that are buffered for display before the container has to wait, as with any slow attached client."""

LAST = 60.0
"""Seconds within which the rest of an exited container's output must arrive."""

CHUNK = 1 << 16
_STREAMS = {1: "stdout", 2: "stderr"}


class Output:
    """The output of one run of a container, read in a thread. `fileno()` is readable when there is something to read."""

    def __init__(self, process: Process, *, tty: bool) -> None:
        self._process, self._tty = process, tty
        self._entries: list[LogEntry] = []
        self._waiting, self._limit = 0, float(LIMIT)
        self._changed = threading.Condition()
        self._closed = False
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {stream: decoder("replace") for stream in _STREAMS.values()}
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether the output is complete: the container or its keeper has exited."""
        return not self._thread.is_alive()

    def fileno(self) -> int:
        return self._wake

    def read(self) -> list[LogEntry]:
        with self._changed:
            found, self._entries, self._waiting = self._entries, [], 0
            try:
                os.eventfd_read(self._wake)
            except BlockingIOError:
                pass
            self._changed.notify()
        return found

    def finish(self) -> None:
        """The container has exited: wait for the rest of its output."""
        deadline = time.monotonic() + LAST
        with self._changed:
            self._limit = float("inf")
            self._changed.notify()
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        assert self._process.stream is not None
        with suppress(OSError), socket.socket(fileno=os.dup(self._process.stream)) as stream:
            stream.shutdown(socket.SHUT_RDWR)  # the thread reads from it
        self._thread.join()
        self._process.close()
        os.close(self._wake)

    def _receive(self) -> None:
        rest = b""
        assert self._process.stream is not None
        stream = self._process.stream
        while True:
            try:
                data = os.read(stream, CHUNK)
            except OSError:
                return
            if not data:
                return
            if self._tty:
                self._put("stdout", data)
                continue
            frames, rest = attach_frames.split(rest + data)
            for number, content in frames:
                self._put(_STREAMS.get(number, "stdout"), content)

    def _put(self, stream: str, data: bytes) -> None:
        *lines, rest = self._decoders[stream].decode(data).split("\n")
        pieces = [f"{line}\n" for line in lines] + ([rest] if rest else [])
        now = time.time_ns()
        with self._changed:
            self._changed.wait_for(lambda: self._waiting < self._limit or self._closed)
            self._entries += [LogEntry(now, stream, piece) for piece in pieces]
            self._waiting += len(data)
            os.eventfd_write(self._wake, 1)


class Outputs:
    """The outputs of attached containers; `services` returns the services to show."""

    def __init__(self, context: Context, services: Callable[[], Iterable[str]]) -> None:
        self._context, self._services = context, services
        self._ready: dict[str, Output] = {}

    def unreadable(self, desired: Desired) -> tuple[str, ...]:
        """The services without stored logs."""
        return tuple(
            name for name in sorted(self._services()) if name in desired.services and _keeps_nothing(desired, name)
        )

    def ready(self, container_id: str) -> None:
        """Attach to a container whose program is about to start."""
        record = next((one for one in self._context.containers() if one.id == container_id), None)
        if record is not None and (output := self._attach(record)) is not None:
            self.close(container_id)
            self._ready[container_id] = output

    def of(self, record: ContainerRecord) -> Output | None:
        """The output attached before its program started, else its output from now on; None if it is not running."""
        return self._ready.pop(record.id, None) or self._attach(record)

    def close(self, container_id: str = "") -> None:
        """Close unused outputs, or one of them."""
        for key in [container_id] if container_id else list(self._ready):
            if output := self._ready.pop(key, None):
                output.close()

    def _attach(self, record: ContainerRecord) -> Output | None:
        try:
            process = self._context.engine.attach(record.group, record.id, stdin=False)
        except EngineError:
            return None
        return Output(process, tty=record.spec.tty)


def _keeps_nothing(desired: Desired, name: str) -> bool:
    logging = desired.services[name].container.logging
    if logging.driver != "none" and not logging.options:
        return False
    from engine.spec.logoptions import is_readable

    try:
        return not is_readable(logging.driver, logging.options)
    except ValueError:
        return False  # refused, and reported elsewhere
