"""Docker's json-file log format: a line {"log", "stream", "time"} for each line of output, rotated by size."""

from __future__ import annotations

import os
import time
from json.encoder import encode_basestring  # type: ignore[attr-defined]

MAX_LINE = 16384
"""Docker splits longer lines into pieces of this many bytes; a piece without "\\n" at its end continues."""


class LogFile:
    """Appends records; `max_size` bytes a file, `max_files` files (json.log, json.log.1 …); 0 bytes: never rotated."""

    def __init__(self, path: str, max_size: int, max_files: int) -> None:
        self.path, self.max_size, self.max_files = path, max_size, max(1, max_files)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._fd).st_size
        self._partial: dict[str, bytes] = {}

    def feed(self, stream: str, data: bytes) -> None:
        """Take output as it comes; whole lines are written, the rest waits for more or for `flush`."""
        data = self._partial.pop(stream, b"") + data
        lines = data.split(b"\n")
        rest = lines.pop()
        while len(rest) >= MAX_LINE:
            lines.append(rest[:MAX_LINE])
            rest = rest[MAX_LINE:]
            self._write(stream, lines, last_is_piece=True)
            lines = []
        if rest:
            self._partial[stream] = rest
        if lines:
            self._write(stream, lines, last_is_piece=False)

    def flush(self) -> None:
        """Write what has no newline yet, as its own record."""
        for stream, rest in list(self._partial.items()):
            del self._partial[stream]
            self._write(stream, [rest], last_is_piece=True)

    def close(self) -> None:
        self.flush()
        os.close(self._fd)

    def _write(self, stream: str, lines: list[bytes], *, last_is_piece: bool) -> None:
        now = time.time_ns()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000))
        tail = f',"stream":"{stream}","time":"{stamp}.{now % 1_000_000_000:09d}Z"}}\n'
        last = len(lines) - 1
        records = []
        for index, line in enumerate(lines):
            text = line.decode("utf-8", "replace")
            if not (last_is_piece and index == last):
                text += "\n"
            records.append('{"log":' + encode_basestring(text) + tail)
        data = memoryview("".join(records).encode())
        try:
            while data:
                written = os.write(self._fd, data)
                self._size += written
                data = data[written:]
        except OSError:
            return  # a full disk must not stop the container; the records are lost
        if self.max_size and self._size >= self.max_size:
            self._rotate()

    def _rotate(self) -> None:
        os.close(self._fd)
        for number in range(self.max_files - 1, 0, -1):
            older = f"{self.path}.{number - 1}" if number > 1 else self.path
            try:
                os.replace(older, f"{self.path}.{number}")
            except FileNotFoundError:
                pass
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o640)
        self._size = 0
