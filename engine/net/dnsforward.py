"""Questions that other resolvers have to answer; passed on as they are, EDNS included (RFC 1035 section 4.2)."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import struct
from collections.abc import Sequence

TIMEOUT = 5.0
"""Seconds given to each resolver."""

PORT = 53
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
    """A name here would be resolved by a blocking call."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


async def ask(servers: Sequence[str], data: bytes, *, stream: bool) -> bytes | None:
    """The answer of the first server that gives one; None when none does."""
    for server in filter(_is_address, servers):
        try:
            async with asyncio.timeout(TIMEOUT):
                return await (_stream if stream else _datagram)(server, data)
        except (OSError, EOFError, TimeoutError):
            continue
    return None


async def _stream(server: str, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, PORT)
    try:
        writer.write(struct.pack(">H", len(data)) + data)
        (length,) = struct.unpack(">H", await reader.readexactly(2))
        return await reader.readexactly(length)
    finally:
        writer.close()


async def _datagram(server: str, data: bytes) -> bytes:
    """A socket, and so a source port, of its own for each question: answers cannot be guessed (RFC 5452)."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((server, PORT))
        sock.send(data)
        while True:
            answer = await loop.sock_recv(sock, 65535)
            if len(answer) >= 12 and answer[:2] == data[:2] and answer[2] & 0x80:
                return answer
