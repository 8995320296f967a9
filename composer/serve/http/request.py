"""A request as handlers see it, and the plain answers that they return."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from composer.serve.http.errors import BadRequest, HTTPError

MAX_JSON = 8 * 1024 * 1024
"""Bytes of a JSON body. No request of Docker's API comes near; more is an attack or a mistake."""

T = TypeVar("T")
OBJECT: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
"""Any JSON: for bodies whose fields are looked at one by one."""


class Request:
    """One request. `path` is decoded and without the version; `version` is what the client asked for, as (1, 44).

    `body` gives the body's bytes as they arrive; nothing is read from the socket before it is asked for more.
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
        self._query = parse_qs(query, keep_blank_values=True, errors="surrogateescape") if query else {}
        self._read = read

    def query(self, name: str, default: str = "") -> str:
        """The first value of a query parameter; names are case-sensitive, as in Docker's API."""
        values = self._query.get(name)
        return values[0] if values else default

    def queries(self, name: str) -> list[str]:
        return self._query.get(name, [])

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean parameter as Docker reads it: anything but "", 0, no, false and none is true."""
        value = self.query(name)
        if name not in self._query:
            return default
        return value.strip().lower() not in ("", "0", "no", "false", "none")

    def number(self, name: str, default: int | None = None) -> int | None:
        """A whole number; `default` when it is absent or empty. BadRequest."""
        value = self.query(name)
        if not value:
            return default
        try:
            return int(value)
        except ValueError:
            raise BadRequest(f'strconv.Atoi: parsing "{value}": invalid syntax') from None

    def body(self) -> AsyncIterator[bytes]:
        return self._read()

    async def content(self, limit: int = MAX_JSON) -> bytes:
        """The whole body. HTTPError 413 when it has more than `limit` bytes."""
        parts, size = [], 0
        async for part in self._read():
            size += len(part)
            if size > limit:
                raise HTTPError(413, f"the request's body has more than {limit} bytes")
            parts.append(part)
        return b"".join(parts)

    async def json(self, decoder: msgspec.json.Decoder[T]) -> T | None:
        """The body, decoded; None when there is none. BadRequest, in Docker's words where it has some."""
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
    """A whole answer: `value` is sent as JSON, `content` as it is; neither for an empty one."""

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
