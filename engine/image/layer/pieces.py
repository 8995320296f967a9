"""Pieces of bytes as a file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO

from engine.image.layer.compression import CHUNK


def file_of(pieces: Iterator[bytes]) -> IO[bytes]:
    """A file, to be read once, with these pieces as its content. What the iterator raises, `read` raises."""
    return io.BufferedReader(_Pieces(pieces), CHUNK)


class _Pieces(io.RawIOBase):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._piece = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._piece = self._piece or memoryview(next(self._pieces, b""))
        size = min(len(buffer), len(self._piece))
        buffer[:size], self._piece = self._piece[:size], self._piece[size:]
        return size
