"""The first line and headers of a request (RFC 9112 sections 3 and 5), parsed by httptools."""

from __future__ import annotations

import httptools

from composer.serve.http.errors import BadRequest, HTTPError

MAX_HEADERS = 64 * 1024
"""Size limit of a request's first line and headers."""
END = b"\r\n\r\n"
"""Ends the headers."""

_ONCE = frozenset({"content-length", "transfer-encoding", "host"})


class RequestHead:
    """Collects the first line and headers that httptools parses."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[str, str] = {}
        self.complete = False
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        if key in self.headers and key in _ONCE:
            raise BadRequest(f"malformed request: {key} is given twice")
        text = value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key == "connection" and key in self.headers else text

    def on_headers_complete(self) -> None:
        self.complete = True

    @property
    def keep_alive(self) -> bool:
        """Whether another request can follow (RFC 9112 section 9.3). The parser's own answer is wrong once a request
        without a body is complete."""
        options = {option.strip().lower() for option in self.headers.get("connection", "").split(",")}
        return "close" not in options and (self.version != "1.0" or "keep-alive" in options)

    @property
    def version(self) -> str:
        """The request's version of HTTP, such as "1.1"."""
        found: str = self.parser.get_http_version()
        return found

    def check(self) -> None:
        """Raise HTTPError for a complete head of another version, or without Host (RFC 9112 section 3.2)."""
        if self.version not in ("1.0", "1.1"):
            raise HTTPError(505, f"HTTP/{self.version} is not supported")
        if "host" not in self.headers and self.version != "1.0":
            raise BadRequest("malformed request: missing required Host header")

    def feed(self, data: bytes) -> None:
        """Parse data. Raises BadRequest for a malformed head."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # we use the parser for the headers only
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except httptools.HttpParserError as error:
            raise BadRequest(f"malformed request: {error}") from None
