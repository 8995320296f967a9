"""The proxies in the environment (http_proxy, https_proxy, no_proxy), and tunnels through them (RFC 9110, 9.3.6)."""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import select
import socket
import ssl
import threading
import urllib.parse

from engine.errors import RegistryError

_LOOPBACK_6 = bytes(15) + b"\1"


def proxy_of(url: urllib.parse.SplitResult) -> str:
    """The URL of the proxy for `url`, "" for a direct connection, which servers on the loopback interface always get. Raises
    RegistryError for a proxy of another kind."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return ""
    import urllib.request

    proxy = urllib.request.getproxies().get(url.scheme, "")
    if not proxy or is_loopback(url.netloc) or urllib.request.proxy_bypass(url.netloc.rpartition("@")[2]):
        return ""
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not proxy.lower().startswith(("http://", "https://")):
        raise RegistryError(f"the proxy {proxy} is not supported", hint="Use an http:// or https:// proxy.")
    return proxy


def is_loopback(host: str) -> bool:
    """Whether host[:port] is this machine, by name or address only (look-ups are not trusted)."""
    name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    for family, first in ((socket.AF_INET, b"\x7f"), (socket.AF_INET6, _LOOPBACK_6)):
        with contextlib.suppress(OSError, ValueError):
            return socket.inet_pton(family, name).startswith(first)
    return False


def authorization(proxy: str) -> dict[str, str]:
    """The header for the user and password in a proxy's URL."""
    parts = urllib.parse.urlsplit(proxy)
    if parts.username is None:
        return {}
    user, password = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
    return {"Proxy-Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def tunnel(sock: socket.socket, host: str, port: int, headers: dict[str, str]) -> None:
    """Ask the proxy at the other end for a tunnel. Raises OSError, HTTPException."""
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}", *(f"{name}: {value}" for name, value in headers.items())]
    sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
    with http.client.HTTPResponse(sock, method="CONNECT") as response:
        response.begin()
        if response.status // 100 != 2:
            raise OSError(f"the proxy refused a tunnel to {place}: {response.status} {response.reason}")


def plain_end(outer: ssl.SSLSocket) -> socket.socket:
    """A socket whose bytes go through `outer`: TLS inside the tunnel of a TLS proxy needs a real socket."""
    ours, theirs = socket.socketpair()
    threading.Thread(target=_relay, args=(outer, theirs), name="proxy", daemon=True).start()
    return ours


def _relay(outer: ssl.SSLSocket, inner: socket.socket) -> None:
    """Copy in both directions until one end closes. One thread: OpenSSL allows only one call at a time for a connection."""
    poll = select.poll()
    poll.register(outer, select.POLLIN)
    poll.register(inner, select.POLLIN)
    with outer, inner:
        while True:
            ready = {fd for fd, _ in poll.poll()}
            try:
                if inner.fileno() in ready:
                    if not (data := inner.recv(1 << 16)):
                        return
                    outer.settimeout(None)
                    outer.sendall(data)
                outer.settimeout(0)  # a record without data, such as a session ticket, must not block
                while data := outer.recv(1 << 16):
                    inner.sendall(data)
                return
            except ssl.SSLWantReadError:
                continue
            except OSError:
                return
