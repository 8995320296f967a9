"""Forward questions to resolvers unchanged, including EDNS (RFC 1035 section 4.2)."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import os
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from engine.net.rtnetlink import inside

TIMEOUT = 5.0
"""Timeout of each resolver, in seconds."""

PATIENCE = 0.8
"""Seconds after which the next resolver is asked as well."""

AVOIDED = 60.0
"""Seconds for which a resolver that did not answer is asked last."""

_WEAK = (2, 4, 5)
"""SERVFAIL, NOTIMP, REFUSED: another resolver may answer (as for clients of resolv.conf(5))."""

PORT = 53
_SIOCGSKNS = 0x894C
"""The network namespace of a socket (linux/sockios.h)."""
RESOLV_CONF = "/etc/resolv.conf"

_cache: tuple[object, tuple[str, ...]] = (None, ())


def host_resolvers() -> tuple[str, ...]:
    """The nameservers of resolv.conf(5); read again only when the file has changed."""
    global _cache
    try:
        status = os.stat(RESOLV_CONF)
        version = (RESOLV_CONF, status.st_ino, status.st_mtime_ns, status.st_size)
        if version != _cache[0]:
            with open(RESOLV_CONF, encoding="utf-8", errors="replace") as file:
                words = [line.split() for line in file]
            _cache = version, tuple(w[1] for w in words if len(w) > 1 and w[0] == "nameserver" and _is_address(w[1]))
    except OSError:
        return ()
    return _cache[1]


def _is_address(text: str) -> bool:
    """Whether this is an address; a name would be resolved by a blocking call."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


_silent: dict[str, float] = {}
"""Resolver → when it last failed to answer a question that another one answered."""


def ordered(servers: Sequence[str]) -> list[str]:
    """The servers in the given order, but those that recently did not answer last."""
    return sorted(filter(_is_address, servers), key=_is_avoided)


def _is_avoided(server: str) -> bool:
    return time.monotonic() - _silent.get(server, -AVOIDED) < AVOIDED


async def ask(
    servers: Sequence[str], data: bytes, *, stream: bool, origins: Mapping[str, socket.socket] = MappingProxyType({})
) -> bytes | None:
    """The first answer, or None. The next server is asked when one fails, refuses, or does not answer within PATIENCE;
    late answers still count. A refusal is returned without waiting for servers that are silent anyway. `origins`: server
    → a socket in the network namespace to ask it from, if it is not this process's."""
    pending: dict[asyncio.Task[bytes], str] = {}
    weak: bytes | None = None
    waiting = ordered(servers)
    try:
        while waiting or pending:
            if waiting:
                server = waiting.pop(0)
                pending[asyncio.ensure_future(_one(server, data, stream=stream, origin=origins.get(server)))] = server
            hopeless = weak is not None and all(map(_is_avoided, pending.values()))
            done, _ = await asyncio.wait(
                pending, timeout=PATIENCE if waiting or hopeless else None, return_when=asyncio.FIRST_COMPLETED
            )
            if hopeless and not done and not waiting:
                break
            for task in done:
                server = pending.pop(task)
                if task.exception() is not None:
                    _silent[server] = time.monotonic()
                    continue
                answer = task.result()
                if answer[3] & 0x0F in _WEAK:
                    weak = weak or answer
                    continue
                _silent.pop(server, None)
                _silent.update(dict.fromkeys(pending.values(), time.monotonic()))
                return answer
        return weak
    finally:
        for task in pending:
            task.cancel()


async def _one(server: str, data: bytes, *, stream: bool, origin: socket.socket | None) -> bytes:
    sock = _socket(server, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM, origin)
    sock.setblocking(False)
    async with asyncio.timeout(TIMEOUT):
        return await (_stream if stream else _datagram)(sock, server, data)


def _socket(server: str, kind: socket.SocketKind, origin: socket.socket | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    if origin is None:
        return socket.socket(family, kind)
    namespace = fcntl.ioctl(origin, _SIOCGSKNS)
    try:
        with inside(namespace):
            return socket.socket(family, kind)
    finally:
        os.close(namespace)


async def _stream(sock: socket.socket, server: str, data: bytes) -> bytes:
    with contextlib.ExitStack() as stack:
        stack.enter_context(sock)
        await asyncio.get_running_loop().sock_connect(sock, (server, PORT))
        reader, writer = await asyncio.open_connection(sock=sock)
        stack.pop_all()  # the writer closes it
    try:
        writer.write(struct.pack(">H", len(data)) + data)
        (length,) = struct.unpack(">H", await reader.readexactly(2))
        return await reader.readexactly(max(length, 12))
    finally:
        writer.close()


async def _datagram(sock: socket.socket, server: str, data: bytes) -> bytes:
    """Ask by UDP. Each question has a new socket, and so a new source port, against forged answers (RFC 5452)."""
    with sock:
        sock.connect((server, PORT))
        sock.send(data)
        while True:
            answer = await asyncio.get_running_loop().sock_recv(sock, 65535)
            if len(answer) >= 12 and answer[:2] == data[:2] and answer[2] & 0x80:
                return answer


def is_of_host(server: str) -> bool:
    """Whether a resolver from resolv.conf(5) can be asked only from the host's network: its address is the host's own, or
    is valid on one link only."""
    address = ipaddress.ip_address(server)
    if address.is_loopback or address.is_link_local:
        return True
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET) as sock:
        sock.bind((server, 0))
        return True
    return False
