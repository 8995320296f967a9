"""Requests as handlers see them, and the plain replies that handlers return."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from composer.serve.http.errors import BadRequest, HTTPError

MAX_JSON = 8 * 1024 * 1024
"""Size limit of a JSON body. Requests of Docker's API are far smaller."""

T = TypeVar("T")
_INTEGER = re.compile(r"[+-]?[0-9]+")
WRONG_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2}).{0,2}")
OBJECT: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
"""Decodes any JSON, for bodies whose fields are checked one by one."""


class Request:
    """One request. `path` is decoded and without the version; `version` is the requested version, as (1, 44).

    `body` yields the body's bytes as they arrive; it reads from the socket only on demand.
    """

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        read: Callable[[], AsyncIterator[bytes]],
    ) -> None:
        self.method, self.path, self.headers = method, path, headers
        self.version = (1, 55)
        self.arguments: dict[str, str] = {}
        self.text = query
        """The query as sent."""
        self._query = parse_qs(query, keep_blank_values=True, errors="surrogateescape") if query else {}
        self._read = read

    def query(self, name: str, default: str = "") -> str:
        """The first value of a query parameter; names are case-sensitive, as in Docker's API."""
        values = self._query.get(name)
        return values[0] if values else default

    def check_query(self) -> None:
        """Raise BadRequest for a query that is malformed (as Go's net/url, because clients expect Docker's parser)."""
        if ";" in self.text:
            raise BadRequest("invalid semicolon separator in query")
        if wrong := WRONG_ESCAPE.search(self.text):
            raise BadRequest(f'invalid URL escape "{wrong[0]}"')

    def queries(self, name: str) -> list[str]:
        return self._query.get(name, [])

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean parameter as in Docker: anything but "", 0, no, false and none is true."""
        value = self.query(name)
        if name not in self._query:
            return default
        return value.strip().lower() not in ("", "0", "no", "false", "none")

    def number(self, name: str, default: int | None = None) -> int | None:
        """An integer of 64 bits; `default` if it is absent or empty. Raises BadRequest."""
        value = self.query(name)
        if not value:
            return default
        if not _INTEGER.fullmatch(value):
            raise BadRequest(f'strconv.Atoi: parsing "{value}": invalid syntax')
        if len(value) > 20 or not -(1 << 63) <= int(value) < 1 << 63:
            raise BadRequest(f'strconv.Atoi: parsing "{value}": value out of range')
        return int(value)

    @property
    def length(self) -> int | None:
        """The body's Content-Length; None for a chunked body."""
        return None if "transfer-encoding" in self.headers else int(self.headers.get("content-length") or 0)

    def body(self) -> AsyncIterator[bytes]:
        return self._read()

    async def content(self, limit: int = MAX_JSON) -> bytes:
        """The whole body. Raises HTTPError 413 if it has more than `limit` bytes."""
        too_large = HTTPError(413, f"the request's body has more than {limit} bytes")
        if (self.length or 0) > limit:
            raise too_large
        parts, size = [], 0
        async for part in self._read():
            size += len(part)
            if size > limit:
                raise too_large
            parts.append(part)
        return b"".join(parts)

    async def json(self, decoder: msgspec.json.Decoder[T]) -> T | None:
        """The decoded body; None if there is none. Raises BadRequest, with Docker's message where Docker has one."""
        data = await self.content()
        if not data.strip():
            return None
        media = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media != "application/json":
            raise BadRequest(
                f"unsupported Content-Type header ({self.headers.get('content-type', '')}): must be 'application/json'"
            )
        try:
            return decoder.decode(data)
        except msgspec.ValidationError as error:
            raise BadRequest(f"invalid JSON: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRequest(f"invalid JSON: {error}") from None


class Reply:
    """A complete reply: `value` is sent as JSON, `content` as it is; neither means an empty body."""

    __slots__ = ("content", "headers", "status")

    def __init__(
        self,
        value: Any = None,
        *,
        status: int = 200,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.headers = dict(headers or {})
        if content is None and value is not None:
            content = msgspec.json.encode(value) + b"\n"
            self.headers.setdefault("Content-Type", "application/json")
        self.content = content or b""


NO_CONTENT = Reply(status=204)
NOT_MODIFIED = Reply(status=304)
