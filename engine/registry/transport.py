"""HTTP to one registry: TLS, retries, redirects, and readable errors. The only module that uses urllib3."""

from __future__ import annotations

import contextlib
import email.utils
import ipaddress
import os
import random
import re
import ssl
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InsecureRequestWarning,
    NewConnectionError,
    ProxyError,
    SSLError,
)

from engine.errors import RegistryError
from engine.image.reference import DEFAULT_REGISTRY
from engine.registry import settings
from engine.tls import client_context
from engine.vocabulary import HUB_HOST

ATTEMPTS = 5
_PATIENCE = 10.0
"""The longest wait in seconds that a busy server can request; a longer one is reported at once."""
_REDIRECTS = (301, 302, 303, 307, 308)
_REDIRECT_LIMIT = 5
BUSY = (408, 429, 500, 502, 503, 504)
"""Answers after which a request is repeated."""
_HOSTS = {DEFAULT_REGISTRY: HUB_HOST}
_CERTIFICATES = "/etc/docker/certs.d"
_AGENT = "composer"
_DRAIN_LIMIT = 1 << 14

_NUMBER = re.compile(r"\[Errno -?\d+\] ")
"""How Python writes an error number before the system's word for it."""

Response = urllib3.BaseHTTPResponse


class Transport:
    """Requests to the registry `registry`. Used by several threads at once.

    `insecure` registries, and those on the loopback interface, may present any certificate or use plain HTTP.
    """

    def __init__(self, registry: str, insecure: Collection[str] = (), mirror: str = "") -> None:
        """`mirror` replaces the registry as the server."""
        configured = settings.of(registry)
        given = mirror or configured.location
        place = settings.endpoint(given) if given else settings.Endpoint(_HOSTS.get(registry, registry))
        self.registry = place.host if mirror else registry
        self.host, self.prefix = place.host, place.prefix
        if mirror:
            configured = settings.of(place.host)
        plain = configured.plain_http or place.scheme == "http"
        self.trusting = registry in insecure or configured.insecure or plain or is_loopback(self.host)
        self._scheme = "http" if plain else place.scheme
        self._ca = configured.ca
        self._timeout = urllib3.Timeout(connect=configured.connect_timeout, read=configured.read_timeout)
        self._lock, self._pools_lock = threading.Lock(), threading.Lock()
        self._pools: dict[tuple[str, bool], urllib3.PoolManager] = {}
        self._context: ssl.SSLContext | None = None
        self._connected = False
        if self._ca:
            self._context = self._tls()  # reports a missing or invalid file before anything is sent

    @property
    def base(self) -> str:
        """Scheme and host; for a registry that may lack TLS, the first request finds out."""
        with self._lock:
            if not self._scheme:
                self._scheme = "http" if self.trusting and not self._speaks_tls() else "https"
        return f"{self._scheme}://{self.host}"

    @contextlib.contextmanager
    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: object = None, retry: bool = True
    ) -> Iterator[Response]:
        """One exchange, its body not read yet; `url` may be a path. Redirects of GET and HEAD are followed.

        Requests to a busy or failing server are repeated after growing pauses; one that has never been reached is not
        waited for. Raises RegistryError if there is no response; the caller handles responses with an error status.
        """
        url = urllib.parse.urljoin(self.base + "/", url)
        sent = {"User-Agent": _AGENT, **headers}
        for attempt in range(ATTEMPTS if retry else 1):
            try:
                response = self._follow(method, url, sent, body)
                self._connected = True
            except HTTPError as error:
                lost = self._connected or not _is_unreachable(error)
                if attempt + 1 == (ATTEMPTS if retry else 1) or isinstance(error, SSLError) or not lost:
                    raise self.failure(method, url, error) from error
                pause(attempt)
                continue
            try:
                wait = retry_after(response)
                if retry and response.status in BUSY and attempt + 1 < ATTEMPTS and wait <= _PATIENCE:
                    pause(attempt, wait)
                    continue
                yield response
                return
            finally:
                _done_with(response)

    def _follow(self, method: str, url: str, headers: dict[str, str], body: object) -> Response:
        for _ in range(_REDIRECT_LIMIT + 1):
            response = self._pool(url).request(
                method,
                url,
                headers=headers,
                body=body,  # type: ignore[arg-type]
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=self._timeout,
            )
            target = response.headers.get("Location", "")
            if response.status not in _REDIRECTS or method not in ("GET", "HEAD") or not target:
                return response
            _done_with(response)
            new = self.joined(url, target)
            old_parts, new_parts = urllib.parse.urlsplit(url), urllib.parse.urlsplit(new)
            self.check_scheme(new, "redirects to")
            if (old_parts.scheme, old_parts.netloc) != (new_parts.scheme, new_parts.netloc):
                # Credentials are for the registry, not for other hosts that it redirects to.
                headers = {key: value for key, value in headers.items() if key.lower() != "authorization"}
            url = new
        raise RegistryError(f"{self.registry} redirects more than {_REDIRECT_LIMIT} times at {_shown(url)}")

    def joined(self, base: str, target: str) -> str:
        """The URL that the registry calls `target`, which may be relative to `base`. Raises RegistryError if it is none."""
        try:
            found = urllib.parse.urljoin(base, target)
            _ = urllib.parse.urlsplit(found).port  # which is parsed only now
        except ValueError as error:
            raise RegistryError(f"{self.registry} refers to {_shown(target)[:200]!r}, which is not a URL") from error
        return found

    def check_scheme(self, url: str, subject: str) -> None:
        """Refuse a redirect from https to http. Raises RegistryError."""
        scheme = urllib.parse.urlsplit(url).scheme
        if scheme != "https" and not (scheme == "http" and self.trusting):
            raise RegistryError(f"{self.registry} {subject} {_shown(url)}, which is not https: refused")

    def _speaks_tls(self) -> bool:
        try:
            self._pool(f"https://{self.host}").request(
                "GET", f"https://{self.host}/v2/", retries=False, redirect=False, timeout=urllib3.Timeout(5)
            )
        except (SSLError, NewConnectionError, HTTPError):
            return False
        return True

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urllib.parse.urlsplit(url)
        proxy = _proxy_of(parts)
        secure = "https" in (parts.scheme, urllib.parse.urlsplit(proxy).scheme)
        with self._pools_lock:
            if (proxy, secure) not in self._pools:
                options: dict[str, Any] = {"maxsize": 8, "num_pools": 8}
                if secure:
                    self._context = self._context or self._tls()
                    options["ssl_context"] = self._context
                if proxy:
                    options["proxy_headers"] = _proxy_headers(proxy)
                    self._pools[proxy, secure] = urllib3.ProxyManager(proxy, **options)
                else:
                    self._pools[proxy, secure] = urllib3.PoolManager(**options)
            return self._pools[proxy, secure]

    def _tls(self) -> ssl.SSLContext:
        if self.trusting:
            # A registry that is configured as insecure needs no warning at each request, and no authorities: loading
            # the system's takes 20 ms.
            urllib3.disable_warnings(InsecureRequestWarning)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context = client_context()
        if self._ca:
            try:
                context.load_verify_locations(self._ca)
            except OSError as error:
                raise RegistryError(
                    f"cannot use the CA file {self._ca} of {self.registry}: {error.strerror}"
                ) from error
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
        reason = getattr(error, "reason", None) or error
        text = str(reason).partition(": ")[2] if isinstance(reason, NewConnectionError) else str(reason)
        number = _NUMBER.search(text)
        text = _NUMBER.sub("", text)
        hint = "Is the registry running and reachable?"
        if isinstance(reason, SSLError) or "CERTIFICATE" in text:
            hint = f"To trust its certificate authority, put its certificate into {_CERTIFICATES}/{self.host}/ca.crt."
        return RegistryError(
            f"no answer from registry {self.registry}: {method} {_shown(url)}: {text}",
            hint=hint,
            unreachable=f"{self._scheme}://{self.host}/v2/",
            reason=text[number.start() :].rstrip(")") if number else "",
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


def _is_unreachable(error: HTTPError) -> bool:
    """Whether the host name does not resolve, or no connection could be established."""
    return isinstance(error.original_error if isinstance(error, ProxyError) else error, ConnectTimeoutError)


def _done_with(response: Response) -> None:
    """Give the connection back when its answer was read; one with an unread rest is closed."""
    left = response.length_remaining
    if left is None or left > _DRAIN_LIMIT:
        response.close()
    else:
        response.drain_conn()
        response.release_conn()


def retry_after(response: Response) -> float:
    """Seconds that the server asks us to wait (RFC 9110, 10.2.3); 0 if it does not say."""
    text = response.headers.get("Retry-After", "").strip()
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


def _proxy_of(url: urllib.parse.SplitResult) -> str:
    """The proxy for `url` by the environment (http_proxy, https_proxy, no_proxy); "" for none. Raises RegistryError."""
    proxy = urllib.request.getproxies().get(url.scheme, "")
    if not proxy or is_loopback(url.netloc) or urllib.request.proxy_bypass(url.hostname or ""):
        return ""
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urllib.parse.urlsplit(proxy).scheme not in ("http", "https"):
        name = proxy.rpartition("@")[2] if "@" in proxy else proxy
        raise RegistryError(
            f"the proxy {name} of {url.scheme}_proxy is not supported", hint="Name a proxy with http or https."
        )
    return proxy


def _proxy_headers(proxy: str) -> Mapping[str, str]:
    parts = urllib.parse.urlsplit(proxy)
    if not parts.username:
        return {}
    login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
    return urllib3.make_headers(proxy_basic_auth=login)


def is_loopback(host: str) -> bool:
    """Whether host[:port] is this machine by its name or address alone (no look-up is trusted)."""
    name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return False


def _shown(url: str) -> str:
    """The URL without its query, which may contain a signature."""
    return url.partition("?")[0]
