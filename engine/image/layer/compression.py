"""Decompressing a layer or archive as a stream: gzip (RFC 1952), zstd (RFC 8878), xz, bzip2, or none, detected by its first
bytes.

A hostile stream may be a bomb, so its output is limited, both absolutely and as a ratio to its input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from msgspec import Struct

from engine.errors import Corrupt, Unsupported
from engine.image.layer import gzip

CHUNK = 1 << 18
"""Larger pieces are not faster, and they cost memory, because several layers are unpacked at the same time."""
_MAGICS = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\x00", "xz"), (b"BZh", "bzip2"))


class Limits(Struct, frozen=True):
    """What one stream may expand to. The ratio applies only above `free_bytes`: files of zeros are legitimate, and gzip's own
    limit is 1,032 to 1. `max_names` limits the total length of the directories' paths, which are kept in memory."""

    max_bytes: int = 128 << 30
    max_ratio: int = 400
    free_bytes: int = 4 << 30
    max_entries: int = 4_000_000
    max_names: int = 1 << 28


class Readable(Protocol):
    """A file of which only this is needed."""

    def read(self, size: int, /) -> bytes: ...


class _Decoder(Protocol):
    """The common interface of zlib, bz2 and lzma decompressors, each created for one member."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def detect(head: bytes) -> str:
    """ "", gzip, zstd, xz or bzip2, by the magic bytes that `head` begins with."""
    for magic, name in _MAGICS:
        if head.startswith(magic):
            return name
    # A zstd stream may begin with a skippable frame (RFC 8878, 3.1.2).
    return "zstd" if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F else ""


def is_tar(head: bytes) -> bool:
    """Whether 512 uncompressed bytes are a tar header with a correct checksum (POSIX pax, ustar interchange format)."""
    if len(head) < 512 or not head[0]:
        return False
    try:
        wanted = int(head[148:156].rstrip(b"\0 ").strip() or b"-1", 8)
    except ValueError:
        return False
    return sum(head[:148]) + sum(head[156:512]) + 8 * 32 == wanted


def chunks(file: Readable, subject: str, limits: Limits | None = None) -> Iterator[bytes]:
    """The uncompressed content of `file`, in pieces of at most CHUNK bytes. Raises Corrupt, Unsupported, OSError."""
    limits = limits or Limits()
    head = file.read(CHUNK)
    kind = detect(head)
    source = _Counted(file, head)
    pieces = _PIECES[kind](source, subject)
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > limits.max_bytes or (total > limits.free_bytes and total > source.count * limits.max_ratio):
            raise Corrupt(
                f"{subject}: {source.count} bytes expand to more than {total}: refused as a decompression bomb",
            )
        yield piece


class _Counted:
    def __init__(self, file: Readable, head: bytes) -> None:
        self._file, self._head, self.count = file, head, 0

    def read(self, size: int = CHUNK) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
        else:
            data = self._file.read(size)
        self.count += len(data)
        return data


def _plain(source: _Counted, subject: str) -> Iterator[bytes]:
    while data := source.read():
        yield data


def _members(source: _Counted, subject: str, new: Callable[[], _Decoder]) -> Iterator[bytes]:
    """Several consecutive members form one stream; zero padding after the last one is skipped."""
    import lzma

    damaged: tuple[type[Exception], ...] = (*gzip.Errors, lzma.LZMAError, OSError, EOFError)
    data = source.read()
    while data:
        decoder = new()
        try:
            while not decoder.eof:
                piece = decoder.decompress(data, CHUNK)
                # zlib hands back what it has not consumed, the others keep it.
                data = getattr(decoder, "unconsumed_tail", b"")
                if piece:
                    yield piece
                if not data and not decoder.eof and (not piece or getattr(decoder, "needs_input", True)):
                    data = source.read()
                    if not data:
                        raise Corrupt(f"{subject}: the compressed stream ends too early")
        except damaged as error:
            raise Corrupt(f"{subject}: the compressed stream is damaged: {error}") from error
        data = decoder.unused_data.lstrip(b"\0") or source.read().lstrip(b"\0")


def _gzip(source: _Counted, subject: str) -> Iterator[bytes]:
    return _members(source, subject, gzip.inflate)


def _xz(source: _Counted, subject: str) -> Iterator[bytes]:
    import lzma

    return _members(source, subject, lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=1 << 30))


def _bzip2(source: _Counted, subject: str) -> Iterator[bytes]:
    import bz2

    return _members(source, subject, bz2.BZ2Decompressor)


def _zstd(source: _Counted, subject: str) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError as error:
        raise Unsupported(f"{subject} is compressed by zstd", hint="Install the Python package zstandard.") from error
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    try:
        with decompressor.stream_reader(source, CHUNK, True) as reader:  # type: ignore[arg-type]
            while piece := reader.read(CHUNK):
                yield piece
    except zstandard.ZstdError as error:
        raise Corrupt(f"{subject}: the compressed stream is damaged: {error}") from error


_PIECES: dict[str, Callable[[_Counted, str], Iterator[bytes]]] = {
    "": _plain,
    "gzip": _gzip,
    "zstd": _zstd,
    "xz": _xz,
    "bzip2": _bzip2,
}
