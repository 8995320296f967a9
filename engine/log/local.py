"""The format of the local driver, and of the spool for remote drivers: frames of raw output.

    ┌────────────┬────────┬────────┬──────────┬──────────┬──────────────┬────────────┐
    │ length u32 │ 'L' u8 │ stream │ u16 zero │ time u64 │ data, length │ length u32 │   little-endian; stream 1 or 2;
    └────────────┴────────┴────────┴──────────┴──────────┴──────────────┴────────────┘   nanoseconds since the epoch

A frame holds complete lines, or a piece of one that is too long (no newline at the frame's end: it continues in the
next frame of its stream). The length is at both ends, so that a file can be read backwards. Bytes are stored unchanged,
also if they are not UTF-8.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from engine.log import lines

NAME = "local.log"

HEAD = struct.Struct("<IcBHQ")
FOOT = struct.Struct("<I")
EXTRA = HEAD.size + FOOT.size
STREAMS = ("", "stdout", "stderr")
MAX_FRAME = 1 << 20
_NUMBERS = {"stdout": 1, "stderr": 2}


class Record:
    """One line, or a piece of one; `timestamp` in nanoseconds since the epoch."""

    def __init__(self, timestamp: int, stream: str, text: bytes) -> None:
        self.timestamp = timestamp
        self.stream = stream
        self.text = text


class Local:
    """The encoder. Labels, variables and tags belong to the container, not to each record."""

    name = NAME

    def encode(self, stream: str, data: bytes, timestamp: int) -> bytes:
        return b"".join((HEAD.pack(len(data), b"L", _NUMBERS[stream], 0, timestamp), data, FOOT.pack(len(data))))

    @staticmethod
    def boundary(records: bytes, limit: int, start: int = 0) -> int:
        """A batch is one frame: recorded completely or not at all."""
        return len(records) if limit >= len(records) else start

    @staticmethod
    def first(records: bytes, start: int) -> int:
        return len(records)

    @staticmethod
    def rest(data: bytes, records: bytes, place: int) -> bytes:
        """The part of `data` whose records begin at `place`."""
        return b"" if place else data

    @staticmethod
    def sound_size(fd: int) -> int:
        """The size of the file without an incomplete frame that a crash left at its end."""
        size = os.fstat(fd).st_size
        if size == 0 or previous(fd, size) is not None:
            return size
        place = 0
        while True:
            head = os.pread(fd, HEAD.size, place)
            if len(head) < HEAD.size or (end := place + EXTRA + length(head)) > size:
                return place
            place = end

    @staticmethod
    def last_batch(fd: int, size: int, stream: str) -> bytes:
        """The last batch of the stream: its frames at the end of the file that share one time."""
        place, timestamp = size, -1
        found: list[bytes] = []
        while (start := previous(fd, place)) is not None:
            frame = os.pread(fd, place - start, start)
            _, _, number, _, time = HEAD.unpack_from(frame)
            if number == _NUMBERS[stream]:
                timestamp = time if timestamp < 0 else timestamp
                if time != timestamp:
                    break
                found.append(frame[HEAD.size : -FOOT.size])
            place = start
        return b"".join(reversed(found))


class Decoder:
    """Decodes a file's bytes as they arrive into records."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame."""
        return len(self._rest)

    def feed(self, data: bytes) -> Iterator[Record]:
        """Raises ValueError for an invalid frame."""
        data = self._rest + data
        place = 0
        try:
            while len(data) - place >= HEAD.size:
                size = length(data, place)
                end = place + EXTRA + size
                if len(data) < end:
                    return
                _, _, stream, _, timestamp = HEAD.unpack_from(data, place)
                text = data[place + HEAD.size : end - FOOT.size]
                place = end
                name = STREAMS[stream]
                for line in lines.pieces(text):
                    yield Record(timestamp, name, line)
        finally:
            self._rest = data[place:]


def length(data: bytes, place: int = 0) -> int:
    """The length of the data in the frame that starts at `place`. Raises ValueError if there is none."""
    size, mark, stream, zero, _ = HEAD.unpack_from(data, place)
    if mark != b"L" or zero or stream not in (1, 2) or size > MAX_FRAME:
        raise ValueError("not a log frame")
    return int(size)


def previous(fd: int, end: int) -> int | None:
    """The start of the frame that ends at `end`; None if there is none."""
    if end < EXTRA:
        return None
    (size,) = FOOT.unpack(os.pread(fd, FOOT.size, end - FOOT.size))
    start = end - EXTRA - size
    if start < 0:
        return None
    try:
        return start if length(os.pread(fd, HEAD.size, start)) == size else None
    except ValueError:
        return None


def seek_back(fd: int, count: int) -> tuple[int, int]:
    """The start of the frame with the `count`-th line from the end, and the number of lines from there on."""
    place, found = os.fstat(fd).st_size, 0
    while found < count and (start := previous(fd, place)) is not None:
        found += sum(1 for _ in lines.pieces(os.pread(fd, place - start - EXTRA, start + HEAD.size)))
        place = start
    return place, found
