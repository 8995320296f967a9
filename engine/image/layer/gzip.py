"""gzip members (RFC 1952), by ISA-L where it is installed, else by zlib. ISA-L inflates half as fast again, and deflates eight
times as fast into 6 per cent more bytes."""

from __future__ import annotations

import zlib
from typing import Protocol

try:
    from isal import isal_zlib
except ImportError:  # no wheel for this machine
    isal_zlib = None  # type: ignore[assignment]

_GZIP = 31
"""wbits of zlib's functions for a gzip header and trailer."""
_LEVEL = 4
"""zlib's: twice as fast as the default of 6, and about 3 per cent larger."""
_ISAL_LEVEL = 2

Errors: tuple[type[Exception], ...] = (
    (zlib.error,) if isal_zlib is None else (zlib.error, isal_zlib.error)  # type: ignore[assignment]
)
"""What damaged input raises."""


class Inflate(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Deflate(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def inflate() -> Inflate:
    """For one member, as zlib.decompressobj."""
    return zlib.decompressobj(_GZIP) if isal_zlib is None else isal_zlib.decompressobj(_GZIP)


def deflate() -> Deflate:
    """For one member, as zlib.compressobj."""
    if isal_zlib is None:
        return zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return isal_zlib.compressobj(_ISAL_LEVEL, isal_zlib.DEFLATED, _GZIP)
