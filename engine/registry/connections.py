"""HTTP/1.1 (RFC 9112) to any server, on the standard library's http.client, which loads in a quarter of the time that urllib3
needs: connections that are kept for the next request, directly or through a proxy."""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Mapping

from engine.registry.coding import Read, decoded
from engine.registry.proxy import authorization, plain_end, proxy_of, tunnel

Broken = (http.client.HTTPException, OSError)
"""Exceptions of a connection that fails or breaks."""
_KEPT = 8
_DRAINED = 1 << 14
"""Up to this many unread bytes are read, so that the connection can be reused."""
_SAFE = "!#$%&'()*+,/:;=?@[]~"
_PORTS = {"http": 80, "https": 443}

Body = bytes | Iterable[bytes] | None


class Response:
    """A response, whose body is read once, piece by piece. Call `done` at the end."""

    def __init__(
        self, url: str, raw: http.client.HTTPResponse, keep: Callable[[], None], end: Callable[[], None]
    ) -> None:
        self.url, self.status, self.reason = url, raw.status, raw.reason
        self._raw, self._keep, self._end = raw, keep, end
        self._decoded: Read | None = None

    def header(self, name: str, default: str = "") -> str:
        """A field's value; one that is sent several times is joined (RFC 9110, 5.3)."""
        return ", ".join(self._raw.headers.get_all(name, [default]))

    def read(self, size: int) -> bytes:
        """At most `size` bytes, without the content coding, b"" at the end. Raises `Broken`, also when the body ends early."""
        if self._decoded is None:
            self._decoded = decoded(self.header("Content-Encoding"), self._piece)
        return self._decoded(size)

    def _piece(self, size: int = -1) -> bytes:
        data = self._raw.read(size)
        if not data and self._raw.length:
            raise http.client.IncompleteRead(b"", self._raw.length)
        return data

    def done(self) -> None:
        """Keep the connection for the next request if little or nothing is left to read."""
        left = self._raw.length
        try:
            while not self._raw.isclosed() and left is not None and left <= _DRAINED:
                self._piece(_DRAINED)
        except Broken:
            pass
        (self._keep if self._raw.isclosed() and not self._raw.will_close else self._end)()


class Connections:
    """Thread-safe. Timeouts in seconds; `context` creates the TLS settings on first use."""

    def __init__(self, context: Callable[[], ssl.SSLContext], connect_timeout: float, read_timeout: float) -> None:
        self._make = context
        self._context: ssl.SSLContext | None = None
        self._connect_timeout, self._read_timeout = connect_timeout, read_timeout
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, str, str], list[http.client.HTTPConnection]] = {}

    def request(self, method: str, url: str, headers: Mapping[str, str], body: Body = None) -> Response:
        """Send a request and wait for the response's headers. A `body` of several pieces needs a Content-Length. Raises
        `Broken`."""
        try:
            parts = urllib.parse.urlsplit(url)
            place = parts.netloc.rpartition("@")[2]
            proxy = proxy_of(parts)
            target = urllib.parse.quote(urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, "")), _SAFE)
            sent = {"Host": place, **headers}
            if proxy and parts.scheme == "http":
                target = f"http://{place}{target}"
                sent |= authorization(proxy)
            key = parts.scheme, place, proxy
            connection = self._kept(key) or self._open(parts, proxy)
        except OSError:
            raise  # a refused certificate also raises ValueError
        except ValueError as error:  # an invalid port, or a label that IDNA does not allow
            raise http.client.InvalidURL(str(error)) from error
        try:
            try:
                connection.request(method, target, body=body, headers=sent)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the server may have responded before it had read everything
            raw = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        return Response(url, raw, lambda: self._keep(key, connection), connection.close)

    def _kept(self, key: tuple[str, str, str]) -> http.client.HTTPConnection | None:
        while True:
            with self._lock:
                idle = self._idle.get(key)
                if not idle:
                    return None
                connection = idle.pop()
            if connection.sock and not _readable(connection.sock):
                return connection
            connection.close()  # the server has closed it

    def _keep(self, key: tuple[str, str, str], connection: http.client.HTTPConnection) -> None:
        with self._lock:
            idle = self._idle.setdefault(key, [])
            if len(idle) < _KEPT:
                idle.append(connection)
                return
        connection.close()

    def _open(self, parts: urllib.parse.SplitResult, proxy: str) -> http.client.HTTPConnection:
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        first = urllib.parse.urlsplit(proxy) if proxy else parts
        there = first.hostname or ""
        connection = http.client.HTTPConnection(
            there, first.port or _PORTS.get(first.scheme, 80), timeout=self._connect_timeout
        )
        connection.auto_open = 0  # http.client would connect without TLS
        try:
            connection.connect()
            if proxy and first.scheme == "https":
                connection.sock = self._secured(connection.sock, there)
            if proxy and parts.scheme == "https":
                tunnel(connection.sock, host, port, authorization(proxy))
            if parts.scheme == "https":
                connection.sock = self._secured(connection.sock, host)
            connection.sock.settimeout(self._read_timeout)
        except BaseException:
            connection.close()
            raise
        return connection

    def _secured(self, sock: socket.socket, host: str) -> ssl.SSLSocket:
        with self._lock:
            if self._context is None:
                self._context = self._make()
        plain = plain_end(sock) if isinstance(sock, ssl.SSLSocket) else sock
        return self._context.wrap_socket(plain, server_hostname=host)


def _readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
