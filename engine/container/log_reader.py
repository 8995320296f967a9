"""Read and follow a container's log across its rotated files, in either format, from the start or the end."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator

import msgspec

from engine.container import log_driver
from engine.errors import Unsupported
from engine.log import files, jsonfile, local
from engine.paths import SPEC_FILE
from engine.spec.container import Logging
from engine.spec.logoptions import is_readable
from engine.spec.stream import LogEntry

_BLOCK = 1 << 18


class _Line(msgspec.Struct):
    log: str
    stream: str
    time: str
    attrs: dict[str, str] = {}


class _Spec(msgspec.Struct):
    logging: Logging = Logging()


_decode = msgspec.json.Decoder(_Line).decode
_decode_spec = msgspec.json.Decoder(_Spec).decode


class LogReader:
    """A position in the log. `read` returns the entries since the last call; rotation in between loses no stored entry.
    `since` and `until` are nanoseconds since the epoch, both included, 0 for no limit. Raises Unsupported for a
    container whose driver stores nothing."""

    def __init__(self, folder: str, *, since: int = 0, until: int = 0, tail: int | None = None) -> None:
        driver = _logging(folder)
        if not is_readable(driver.driver, driver.options):
            raise Unsupported(log_driver.NOT_READABLE)
        self._since, self._until = since, until
        self._format: _Json | _Local = _Json() if driver.driver in ("", "json-file") else _Local()
        self._files = files.Chain(f"{folder}/{self._format.name}")
        self._skip = 0
        if tail is not None:
            self._seek_back(tail)

    def read(self) -> list[LogEntry]:
        """Entries since the last call, oldest first; at most some thousands at a time, so call until empty."""
        while True:
            data = self._files.read(_BLOCK)
            if data:
                found = list(self._chosen(self._format.feed(data)))
                if found:
                    return found
            elif self._files.advance():
                self._format.restart()
            else:
                return []

    def close(self) -> None:
        self._files.close()

    def _chosen(self, entries: Iterable[LogEntry]) -> Iterator[LogEntry]:
        for entry in entries:
            if self._skip:
                self._skip -= 1
            elif entry.time >= self._since and not (self._until and entry.time > self._until):
                yield entry

    def _seek_back(self, lines: int) -> None:
        """Go to the start of the last `lines` entries: first by whole files, newest to oldest, then within one."""
        chain = self._files
        path = chain.path
        newest = max(files.rotated(path), default=0) + 1
        for number in (newest, *reversed(files.rotated(path))):
            if not chain.open(number):
                continue
            place, found = self._format.seek_back(chain.fd, lines)
            os.lseek(chain.fd, place, os.SEEK_SET)
            if found >= lines:
                self._skip = found - lines
                return
            lines -= found


class _Json:
    """Decodes Docker's JSON lines."""

    name = jsonfile.NAME

    def __init__(self) -> None:
        self._rest = b""

    def restart(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[LogEntry]:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            try:
                record = _decode(line)
                yield LogEntry(nanoseconds(record.time), record.stream, record.log, record.attrs)
            except (msgspec.MsgspecError, ValueError):
                continue  # a crash interrupted the write

    @staticmethod
    def seek_back(fd: int, lines: int) -> tuple[int, int]:
        """The start of the last `lines` lines of the file, and their number."""
        end = os.lseek(fd, 0, os.SEEK_END)
        if lines == 0 or end == 0:
            return end, 0
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
                    return start + at + 1, count
            place = start
        return 0, count + 1


class _Local:
    """Decodes frames (engine.log.local)."""

    name = local.NAME

    def __init__(self) -> None:
        self._decoder = local.Decoder()

    def restart(self) -> None:
        self._decoder = local.Decoder()

    def feed(self, data: bytes) -> Iterator[LogEntry]:
        try:
            for record in self._decoder.feed(data):
                yield LogEntry(record.timestamp, record.stream, record.text.decode(errors="replace"))
        except ValueError:
            self._decoder = local.Decoder()  # not a frame: the rest of the block is unreadable

    @staticmethod
    def seek_back(fd: int, lines: int) -> tuple[int, int]:
        return local.seek_back(fd, lines)


def _logging(folder: str) -> Logging:
    try:
        with open(f"{folder}/{SPEC_FILE}", "rb") as file:
            return _decode_spec(file.read()).logging
    except (FileNotFoundError, msgspec.DecodeError):
        return Logging()


_second = ("", 0)


def nanoseconds(text: str) -> int:
    """RFC 3339 with nanoseconds, in UTC, to nanoseconds since the epoch."""
    global _second
    whole, _, fraction = text.rstrip("Z").partition(".")
    if whole != _second[0]:
        _second = (whole, int(datetime.datetime.fromisoformat(f"{whole}+00:00").timestamp()))
    return _second[1] * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0)
