"""Docker's json-file format: {"log", "stream", "attrs", "time"} and a newline for each line of output.

Made for floods of output: a few passes in C encode a batch of lines, without a step in Python for each line. The lines
of a batch share its time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from engine.log import lines
from engine.rfc3339 import nine_digits

NAME = "json.log"

_HEAD = b'{"log":"'
_CONTROL = bytes(c for c in range(32) if c != 0x0A)
_ESCAPES = {c: f"\\u{c:04x}".encode() for c in _CONTROL} | {9: b"\\t", 13: b"\\r", 8: b"\\b", 12: b"\\f"}
_BLOCK = 65536
LAST_BATCH = 4 << 20
"""The last batch is searched in this many bytes at the end of a file."""


class JsonFile:
    """The encoder. `attrs`: the labels, variables and tag that the driver's options add to every line."""

    name = NAME

    def __init__(self, attrs: Mapping[str, str]) -> None:
        self._attrs = f'"attrs":{json.dumps(dict(attrs), separators=(",", ":"))},' if attrs else ""

    def encode(self, stream: str, data: bytes, timestamp: int) -> bytes:
        """Records for `data`, whole lines or pieces of them, at `timestamp` (nanoseconds since the epoch)."""
        tail = f'","stream":"{stream}",{self._attrs}"time":"{nine_digits(timestamp)}"}}\n'.encode()
        if lines.is_short(data):
            return b"".join((_HEAD, escape(data[:-1]).replace(b"\n", b"\\n" + tail + _HEAD), b"\\n", tail))
        return b"".join(
            _HEAD + (escape(piece[:-1]) + b"\\n" if piece.endswith(b"\n") else escape(piece)) + tail
            for piece in lines.pieces(data)
        )

    @staticmethod
    def boundary(records: bytes, limit: int, start: int = 0) -> int:
        """The end of the last complete record that ends at or before `limit`; `start` if there is none."""
        return max(start, records.rfind(b"\n", start, limit) + 1)

    @staticmethod
    def first(records: bytes, start: int) -> int:
        """The end of the record that begins at `start`."""
        return records.find(b"\n", start) + 1 or len(records)

    @staticmethod
    def rest(data: bytes, records: bytes, place: int) -> bytes:
        """The part of `data` whose records begin at `place`."""
        return b"".join(list(lines.pieces(data))[records.count(b"\n", 0, place) :])

    @staticmethod
    def sound_size(fd: int) -> int:
        """The size of the file without an incomplete record that a crash left at its end."""
        end = size = os.fstat(fd).st_size
        while end > 0:
            start = max(0, end - _BLOCK)
            at = os.pread(fd, end - start, start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            end = start
        return 0 if size else size

    @staticmethod
    def last_batch(fd: int, size: int, stream: str) -> bytes:
        """The last batch of the stream: its records at the end of the file that share one time."""
        start = max(0, size - LAST_BATCH)
        found: list[str] = []
        timestamp = None
        for line in reversed(os.pread(fd, size - start, start).splitlines()[1 if start else 0 :]):
            record = json.loads(line)
            if record["stream"] == stream:
                timestamp = timestamp or record["time"]
                if record["time"] != timestamp:
                    break
                found.append(record["log"])
        return "".join(reversed(found)).encode()


def escape(data: bytes) -> bytes:
    """The content of a JSON string, with newlines unchanged; invalid UTF-8 becomes U+FFFD, as in Docker."""
    if b"\\" in data:
        data = data.replace(b"\\", b"\\\\")
    if b'"' in data:
        data = data.replace(b'"', b'\\"')
    if len(data.translate(None, _CONTROL)) != len(data):
        for code, text in _ESCAPES.items():
            byte = bytes((code,))
            if byte in data:
                data = data.replace(byte, text)
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            data = data.decode(errors="replace").encode()
    return data
