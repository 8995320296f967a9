"""Writing a container's log: with rotation, without blocking, and with a report of lines that could not be written."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from engine.log import files, lines
from engine.log.jsonfile import JsonFile
from engine.log.local import Local

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from engine.log.settings import LogSettings

STEP_BACK = 1_000_000_000
"""If the clock goes back by less (nanoseconds), it is being corrected, and times stay in order; a larger step is
accepted."""


QUIET = 5.0
"""Seconds between two complaints about one log."""


class Log:
    """Opens the file for appending, and cuts off an incomplete line that a crash left. Raises OSError when it cannot be
    opened. `settings`: the bundle's `log` (see engine.container.log_driver). `rotated` is called with each file that may be
    compressed."""

    def __init__(self, settings: LogSettings, rotated: Callable[[str], None] = lambda path: None) -> None:
        self._format = JsonFile(settings["attrs"]) if settings["format"] == "json" else Local()
        self.path = f"{settings['folder']}/{self._format.name}"
        self._max_size, self._max_files = settings["max_size"], max(1, settings["max_files"])
        self._batch = self._max_size // 4 or sys.maxsize
        self._rotated = rotated if settings["compress"] else lambda path: None
        self.fd = self._open(self.path)
        self._size = self._format.sound_size(self.fd)
        os.ftruncate(self.fd, self._size)
        earlier = files.rotated(self.path)
        self.number = max(earlier, default=0) + 1
        for path in earlier.values():
            if not path.endswith(".gz"):
                self._rotated(path)  # a crash interrupted the compression
        self._last = 0
        self._lost_bytes = self._lost_lines = 0
        self._why: OSError | None = None
        self._complained = -QUIET

    def feed(self, stream: str, data: bytes, *, last: bool = False) -> int:
        """Record the complete lines at the start of `data`; returns their length in bytes. `last`: everything, because the
        stream has ended. Lines that cannot be written are counted, and reported in the log as soon as possible."""
        size = len(data) if last else lines.whole(data)
        at, timestamp = 0, self._now()
        while at < size:
            end = lines.batch(data, at, size, self._batch)
            self._record(stream, data[at:end] if end - at < len(data) else data, timestamp)
            at = end
        return size

    def recorded(self, stream: str, data: bytes) -> int:
        """How many bytes at the start of `data` are the last batch of the stream in the file: an earlier keeper was
        killed between recording and consuming it. Lines that merely repeat count as new ones."""
        text = self._format.last_batch(self.fd, self._size, stream)
        return len(text) if data.startswith(text) and len(set(text.splitlines())) > 1 else 0

    def note(self, text: str) -> None:
        """Add a line of our own to the container's stderr."""
        self._record("stderr", f"composer: {text}\n".encode(), self._now())

    def close(self) -> None:
        if self._lost_bytes:
            self._record_loss()
        os.close(self.fd)

    def _record(self, stream: str, data: bytes, timestamp: int) -> None:
        if self._lost_bytes and not self._record_loss():
            self._lose(data)
            return
        records = self._format.encode(stream, data, timestamp)
        place = 0
        while place < len(records):
            room = self._max_size - self._size if self._max_size else len(records)
            end = self._format.boundary(records, place + room, place)
            if end == place:
                if self._size and self._rotate():
                    continue
                end = self._format.first(records, place)
            place += self._append(records[place:end] if place or end < len(records) else records)
            if place < end:
                self._lose(self._format.rest(data, records, place))
                return

    def _now(self) -> int:
        now = time.time_ns()
        self._last = self._last if 0 <= self._last - now < STEP_BACK else now
        return self._last

    def _append(self, records: bytes) -> int:
        """Write as many complete records as there is space for. Returns their length in bytes."""
        view = memoryview(records)
        written = 0
        try:
            while written < len(view):
                written += os.write(self.fd, view[written:])
        except OSError as error:
            self._why = error
            written = self._format.boundary(records, written)
            with suppress(OSError):
                os.ftruncate(self.fd, self._size + written)
        self._size += written
        return written

    def _lose(self, data: bytes) -> None:
        if not self._lost_bytes:
            self._complain(f"output is being lost: {self._reason()}")
        self._lost_bytes += len(data)
        self._lost_lines += data.count(b"\n")

    def _record_loss(self) -> bool:
        """Whether writing is possible again; if so, the loss has been recorded in the log."""
        text = f"{self._lost_lines} lines ({self._lost_bytes} bytes) of output were lost: {self._reason()}"
        if not self._append(self._format.encode("stderr", f"composer: {text}\n".encode(), self._now())):
            return False
        self._complain(f"{text}; output is recorded again")
        self._lost_bytes = self._lost_lines = 0
        return True

    def _reason(self) -> str:
        error = self._why
        if error is None:
            return ""
        return f"write {self.path}: {errno.errorcode.get(error.errno or 0, error.errno)}: {error.strerror}"

    def _rotate(self) -> bool:
        """Begin a new file. If that fails (no descriptors, no space for a name), the old one continues to grow."""
        fresh = f"{self.path}.new"
        try:
            fd = self._open(fresh, os.O_TRUNC)
            os.rename(self.path, f"{self.path}.{self.number}")
            os.rename(fresh, self.path)
        except OSError as error:
            self._complain(f"rotate {self.path}: {error.strerror}")
            return False
        os.close(self.fd)
        self.fd, self._size = fd, 0
        for number in files.rotated(self.path):
            if number <= self.number - (self._max_files - 1):
                files.remove(self.path, number)
        if self._max_files > 1:
            self._rotated(f"{self.path}.{self.number}")
        self.number += 1
        return True

    @staticmethod
    def _open(path: str, more: int = 0) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | more, 0o600)

    def _complain(self, text: str) -> None:
        """Write a line to the keeper's own log, at a limited rate."""
        now = time.monotonic()
        if now - self._complained >= QUIET:
            self._complained = now
            with suppress(OSError):
                print(f"log: {text}", file=sys.stderr, flush=True)
