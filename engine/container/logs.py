"""Reading a container's json-file log across its rotated files, from the start or the end, and following it."""

from __future__ import annotations

import calendar
import os
import time

import msgspec

from engine.container.logging import FILE
from engine.spec.stream import LogEntry

_BLOCK = 1 << 20


class _Line(msgspec.Struct):
    log: str
    stream: str
    time: str


_decode = msgspec.json.Decoder(_Line).decode


class LogReader:
    """A place in the log. `read` gives what came since the last call; rotation in between loses nothing that is kept."""

    def __init__(self, folder: str, *, since: float = 0.0, until: float = 0.0, tail: int | None = None) -> None:
        self._path = f"{folder}/{FILE}"
        self._since = int(since * 1e9)
        self._until = int(until * 1e9)
        self._files: list[int] = []
        self._rest = b""
        self._open(tail)

    def read(self) -> list[LogEntry]:
        """Entries since the last call, oldest first; at most some thousands at a time, so call until empty."""
        while True:
            data = os.read(self._files[0], _BLOCK) if self._files else b""
            if data:
                lines = (self._rest + data).split(b"\n")
                self._rest = lines.pop()
                found = [entry for line in lines if line and (entry := self._entry(line))]
                if found:
                    return found
                continue
            if not self._next_file():
                return []

    def close(self) -> None:
        for fd in self._files:
            os.close(fd)
        self._files = []

    def _open(self, tail: int | None) -> None:
        """Oldest file first. For a tail, skip whole files and lines from the end."""
        paths = [self._path]
        while os.path.exists(f"{self._path}.{len(paths)}"):
            paths.append(f"{self._path}.{len(paths)}")
        wanted = tail
        for path in paths:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            self._files.insert(0, fd)
            if wanted is None:
                continue
            wanted -= self._seek_back(fd, wanted)
            if wanted <= 0:
                break

    @staticmethod
    def _seek_back(fd: int, lines: int) -> int:
        """Put the file's offset before its last `lines` lines; how many of them it has."""
        end = os.lseek(fd, 0, os.SEEK_END)
        place, count = end, 0
        while place > 0:
            start = max(0, place - 65536)
            block = os.pread(fd, place - start, start)
            at = len(block)
            while (at := block.rfind(b"\n", 0, at)) >= 0:
                if start + at == end - 1:
                    continue  # the newline that ends the last line
                count += 1
                if count == lines:
                    os.lseek(fd, start + at + 1, os.SEEK_SET)
                    return count
            place = start
        os.lseek(fd, end if lines == 0 else 0, os.SEEK_SET)
        return count + 1 if end and lines else 0

    def _next_file(self) -> bool:
        """At the end of a file: go on with the next one, or with the one that took its name by rotation."""
        if len(self._files) > 1:
            os.close(self._files.pop(0))
            self._rest = b""
            return True
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        if self._files and os.path.samestat(os.fstat(fd), os.fstat(self._files[0])):
            os.close(fd)
            return False
        if self._files:
            # Rotated: first what was written to the old file after our last read, then files in between, then the new.
            if os.lseek(self._files[0], 0, os.SEEK_CUR) < os.fstat(self._files[0]).st_size:
                os.close(fd)
                return True
            between = self._between(self._files[0])
            os.close(self._files[0])
            self._files = between
        self._files.append(fd)
        self._rest = b""
        return True

    def _between(self, old: int) -> list[int]:
        """Files that rotation made between `old` and the present one, oldest first."""
        found: list[int] = []
        number = 1
        while True:
            try:
                fd = os.open(f"{self._path}.{number}", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return found
            if os.path.samestat(os.fstat(fd), os.fstat(old)):
                os.close(fd)
                return found
            found.insert(0, fd)
            number += 1

    def _entry(self, line: bytes) -> LogEntry | None:
        try:
            record = _decode(line)
            moment = nanoseconds(record.time)
        except (msgspec.MsgspecError, ValueError):
            return None  # torn by a crash in the middle of a write
        if moment <= self._since or (self._until and moment > self._until):
            return None
        return LogEntry(moment, record.stream, record.log)


_second = ("", 0)


def nanoseconds(text: str) -> int:
    """RFC 3339 with nanoseconds, in UTC, to nanoseconds since the epoch."""
    global _second
    whole, _, fraction = text.rstrip("Z").partition(".")
    if whole != _second[0]:
        _second = (whole, calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")))
    return _second[1] * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0)


def last_lines(folder: str, count: int) -> list[str]:
    """The container's last lines, for a message about why it failed."""
    reader = LogReader(folder, tail=count)
    try:
        found: list[str] = []
        while entries := reader.read():
            found += [entry.text.rstrip("\n") for entry in entries]
        return found[-count:]
    finally:
        reader.close()
