"""Splitting a stream of output into records, as Docker does."""

from __future__ import annotations

from collections.abc import Iterator

MAX_LINE = 16384
"""Docker splits longer lines into pieces of this many bytes; a piece without "\\n" at its end continues."""

_WINDOW = MAX_LINE // 2


def whole(data: bytes) -> int:
    """How many bytes at the start of `data` can be recorded: complete lines, and pieces of a line longer than
    MAX_LINE."""
    end = data.rfind(b"\n") + 1
    while len(data) - end > MAX_LINE:
        end += _piece(data, end)
    return end


def batch(data: bytes, start: int, end: int, limit: int) -> int:
    """Where to end a batch that begins at `start`: at `end`, or after the lines that fit into `limit` bytes."""
    if end - start <= limit:
        return end
    return data.rfind(b"\n", start, start + limit) + 1 or data.find(b"\n", start + limit, end) + 1 or end


def is_short(data: bytes) -> bool:
    """Whether no line of `data`, which ends with a newline, is longer than MAX_LINE. A cheap test: it may be False
    without need."""
    windows = range(0, len(data) - _WINDOW + 1, _WINDOW)
    return data.endswith(b"\n") and all(data.find(b"\n", at, at + _WINDOW) >= 0 for at in windows)


def pieces(data: bytes) -> Iterator[bytes]:
    """The lines of `data`, those longer than MAX_LINE in pieces. All but the last piece of a line lack the newline."""
    for line in data.splitlines(keepends=True) if b"\r" not in data else _lines(data):
        at = 0
        while len(line) - at > MAX_LINE:
            size = _piece(line, at)
            yield line[at : at + size]
            at += size
        if at < len(line):
            yield line[at:]


def _lines(data: bytes) -> Iterator[bytes]:
    """Split at "\\n" alone (splitlines takes "\\r" for an end, too)."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        yield data[start:end]
        start = end


def _piece(data: bytes, at: int) -> int:
    """Size of the piece that begins at `at`, with more to follow: MAX_LINE bytes, or as many as cut no character in two."""
    end = at + MAX_LINE
    for back in range(4):
        if data[end - back] & 0xC0 != 0x80:  # not inside a UTF-8 character
            return MAX_LINE - back
    return MAX_LINE
