"""Where a request's body ends (RFC 9112 section 6): by length, or by chunks.

We use httptools for the head only: it would continue into the next request in the same bytes, or into the raw stream
after an upgrade.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from composer.serve.http.errors import BadRequest

_MAX_LINE = 4096
"""Size limit of a chunk's first line with extensions, and of a trailer."""
_HEX = frozenset(b"0123456789abcdefABCDEF")


class Framing(Protocol):
    complete: bool

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Returns (content, remaining bytes). Raises BadRequest for malformed framing."""
        ...


class Length:
    """A body with a Content-Length."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.complete = not length

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        content, rest = data[: self._left], data[self._left :]
        self._left -= len(content)
        self.complete = not self._left
        return content, rest


class Chunked:
    """A chunked body: chunks, the last of size 0, then trailers, which are ignored, and an empty line."""

    def __init__(self) -> None:
        self.complete = False
        self._partial = b""
        self._left = 0
        self._state = "size"

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        content: list[bytes] = []
        data = self._partial + data
        self._partial = b""
        while data and not self.complete:
            if self._state == "data":
                content.append(data[: self._left])
                data = data[len(content[-1]) :]
                self._left -= len(content[-1])
                if not self._left:
                    self._state = "end"
                continue
            line, found, rest = data.partition(b"\r\n")
            if len(line) > _MAX_LINE:
                raise BadRequest("malformed request: a chunk's line is too long")
            if not found:
                self._partial = data
                return b"".join(content), b""
            data = rest
            self._line(line)
        return b"".join(content), data

    def _line(self, line: bytes) -> None:
        if self._state == "size":
            size = line.partition(b";")[0].rstrip(b" \t")
            if not size or len(size) > 15 or not _HEX.issuperset(size):
                raise BadRequest("malformed request: invalid chunk size")
            self._left = int(size, 16)
            self._state = "data" if self._left else "trailer"
        elif self._state == "end":
            if line:
                raise BadRequest("malformed request: a chunk is longer than its size")
            self._state = "size"
        else:
            self.complete = not line


def framing(headers: Mapping[str, str]) -> Framing:
    """The framing of the body for these headers. Raises BadRequest."""
    if encoding := headers.get("transfer-encoding"):
        if "content-length" in headers:
            raise BadRequest("malformed request: Content-Length beside Transfer-Encoding")
        if encoding.strip().lower() != "chunked":
            raise BadRequest(f"malformed request: unsupported transfer encoding {encoding!r}")
        return Chunked()
    length = headers.get("content-length", "0").strip()
    if not (length.isascii() and length.isdecimal()) or len(length) > 18:
        raise BadRequest("malformed request: invalid Content-Length")
    return Length(int(length))
