"""Requests to one registry: TLS, retries, redirects, and readable errors."""

from __future__ import annotations

import contextlib
import email.utils
import os
import random
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Collection, Iterator, Mapping

from engine.errors import RegistryError
from engine.image.reference import DEFAULT_REGISTRY
from engine.registry import settings
from engine.registry.connections import Body, Broken, Connections, Response
from engine.registry.proxy import is_loopback

ATTEMPTS = 5
_PATIENCE = 10.0
"""The longest wait in seconds that a busy server can request; a longer one is reported at once."""
_REDIRECTS = (301, 302, 303, 307, 308)
_REDIRECT_LIMIT = 5
_BUSY = (408, 429, 500, 502, 503, 504)
_HOSTS = {DEFAULT_REGISTRY: "registry-1.docker.io"}
_CERTIFICATES = "/etc/docker/certs.d"
_AGENT = "composer"
_PROBE_SECONDS = 5.0


class Transport:
    """Requests to the registry `registry`. Used by several threads at once.

    `insecure` registries, and those on the loopback interface, may present any certificate or use plain HTTP.
    """

    def __init__(self, registry: str, insecure: Collection[str] = (), mirror: str = "") -> None:
        """`mirror` replaces the registry as the server."""
        said = settings.of(registry)
        given = mirror or said.location
        place = settings.endpoint(given) if given else settings.Endpoint(_HOSTS.get(registry, registry))
        self.registry = place.host if mirror else registry
        self.host, self.prefix = place.host, place.prefix
        if mirror:
            said = settings.of(place.host)
        plain = said.plain_http or place.scheme == "http"
        self.trusting = registry in insecure or said.insecure or plain or is_loopback(self.host)
        self._scheme = "http" if plain else place.scheme
        self._ca = said.ca
        self._lock = threading.Lock()
        if self._ca:
            self._tls()  # reports a missing or invalid file before anything is sent
        self._connections = Connections(self._tls, said.connect_timeout, said.read_timeout)

    @property
    def base(self) -> str:
        """Scheme and host; for a registry that may lack TLS, the first request finds out."""
        with self._lock:
            if not self._scheme:
                self._scheme = "http" if self.trusting and not self._speaks_tls() else "https"
        return f"{self._scheme}://{self.host}"

    @contextlib.contextmanager
    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: Body = None, retry: bool = True
    ) -> Iterator[Response]:
        """One exchange, its body not read yet; `url` may be a path. Redirects of GET and HEAD are followed.

        Requests to a busy or failing server are repeated after growing pauses. Raises RegistryError if there is no
        response; the caller handles responses with an error status.
        """
        url = urllib.parse.urljoin(self.base + "/", url)
        sent = {"User-Agent": _AGENT, **headers}
        for attempt in range(ATTEMPTS if retry else 1):
            try:
                response = self._follow(method, url, sent, body)
            except Broken as error:
                if attempt + 1 == (ATTEMPTS if retry else 1) or isinstance(error, ssl.SSLError):
                    raise self.failure(method, url, error) from error
                pause(attempt)
                continue
            try:
                wait = retry_after(response)
                if retry and response.status in _BUSY and attempt + 1 < ATTEMPTS and wait <= _PATIENCE:
                    pause(attempt, wait)
                    continue
                yield response
                return
            finally:
                response.done()

    def _follow(self, method: str, url: str, headers: dict[str, str], body: Body) -> Response:
        for _ in range(_REDIRECT_LIMIT + 1):
            response = self._connections.request(method, url, headers, body)
            target = response.header("Location")
            if response.status not in _REDIRECTS or method not in ("GET", "HEAD") or not target:
                return response
            response.done()
            new = urllib.parse.urljoin(url, target)
            old_parts, new_parts = urllib.parse.urlsplit(url), urllib.parse.urlsplit(new)
            self.check_scheme(new, "redirects to")
            if (old_parts.scheme, old_parts.netloc) != (new_parts.scheme, new_parts.netloc):
                # Credentials are for the registry, not for other hosts that it redirects to.
                headers = {key: value for key, value in headers.items() if key.lower() != "authorization"}
            url = new
        raise RegistryError(f"{self.registry} redirects more than {_REDIRECT_LIMIT} times at {_shown(url)}")

    def check_scheme(self, url: str, what: str) -> None:
        """Refuse a redirect from https to http. Raises RegistryError."""
        scheme = urllib.parse.urlsplit(url).scheme
        if scheme != "https" and not (scheme == "http" and self.trusting):
            raise RegistryError(f"{self.registry} {what} {_shown(url)}, which is not https: refused")

    def _speaks_tls(self) -> bool:
        try:
            Connections(self._tls, _PROBE_SECONDS, _PROBE_SECONDS).request("GET", f"https://{self.host}/v2/", {}).done()
        except Broken:
            return False
        return True

    def _tls(self) -> ssl.SSLContext:
        if self.trusting:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context = ssl.create_default_context()  # which takes 20 ms to read the certificates of the machine
        if self._ca:
            try:
                context.load_verify_locations(self._ca)
            except OSError as error:
                raise RegistryError(f"cannot use the CA file {self._ca} of {self.registry}: {error}") from error
        with contextlib.suppress(OSError):
            folder = f"{_CERTIFICATES}/{self.host}"
            for name in sorted(os.listdir(folder)):
                if name.endswith(".crt"):
                    context.load_verify_locations(f"{folder}/{name}")
                elif name.endswith(".cert"):
                    context.load_cert_chain(f"{folder}/{name}", f"{folder}/{name[:-5]}.key")
        return context

    def failure(self, method: str, url: str, error: Exception) -> RegistryError:
        """The error for a connection that failed or broke."""
        secure = isinstance(error, ssl.SSLError)
        reason = "" if secure else str(getattr(error, "strerror", None) or "")
        text = reason or str(error)
        if isinstance(error, socket.gaierror):
            text = f"Failed to resolve the name: {text}"
        hint = "Is the registry running and reachable?"
        if secure:
            hint = f"To trust its certificate authority, put its certificate into {_CERTIFICATES}/{self.host}/ca.crt."
        return RegistryError(
            f"no answer from registry {self.registry}: {method} {_shown(url)}: {text}",
            hint=hint,
            unreachable=f"{self._scheme}://{self.host}/v2/",
            reason=reason,
        )


class Attempts:
    """Counts consecutive failures: a transfer continues as long as it makes progress, however often it breaks."""

    def __init__(self) -> None:
        self._failed = 0
        self._furthest = 0

    def again(self, position: int) -> bool:
        """Whether to try again after a transfer broke at `position`; waits before returning True."""
        self._failed = 0 if position > self._furthest else self._failed + 1
        self._furthest = max(self._furthest, position)
        if self._failed >= ATTEMPTS:
            return False
        pause(self._failed)
        return True


def retry_after(response: Response) -> float:
    """Seconds that the server asks us to wait (RFC 9110, 10.2.3); 0 if it does not say."""
    text = response.header("Retry-After").strip()
    if text.isdecimal():
        return float(text[:9])
    if not text:
        return 0.0
    try:
        return max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def pause(attempt: int, seconds: float = 0.0) -> None:
    """Wait before the next attempt: as long as the server asks, else with exponential backoff."""
    time.sleep(seconds or 0.2 * 2 ** min(attempt, 5) * random.uniform(0.8, 1.2))


def _shown(url: str) -> str:
    """The URL without its query, which may contain a signature."""
    return url.partition("?")[0]
