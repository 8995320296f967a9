"""Content codings of HTTP responses (RFC 9110, 8.4.1), for servers that compress although we accept only `identity`."""

from __future__ import annotations

import gzip
import http.client
import zlib
from collections.abc import Callable
from typing import IO, cast

Read = Callable[[int], bytes]


class _File:
    def __init__(self, read: Read) -> None:
        self.read = read


def decoded(codings: str, read: Read) -> Read:
    """`read`, decoded; `codings` is the value of Content-Encoding. The function raises HTTPException for damaged content.

    Raises HTTPException for a coding that is not supported.
    """
    for coding in reversed([text.strip().lower() for text in codings.split(",")]):
        if coding in ("gzip", "x-gzip"):
            read = _checked(gzip.GzipFile(fileobj=cast(IO[bytes], _File(read))).read, coding)
        elif coding == "zstd":
            import zstandard

            plain = zstandard.ZstdDecompressor().stream_reader(cast(IO[bytes], _File(read)), read_across_frames=True)
            read = _checked(plain.read, coding)
        elif coding not in ("", "identity"):
            raise http.client.HTTPException(f"the server uses the content coding {coding!r}, which is not supported")
    return read


def _checked(read: Read, coding: str) -> Read:
    def checked(size: int) -> bytes:
        try:
            return read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
            raise http.client.HTTPException(f"the body is damaged: {coding}: {error}") from error

    return checked
