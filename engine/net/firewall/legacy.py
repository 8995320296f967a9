"""Reads legacy iptables directly: programs would take 10 ms, and the kernel does not send notifications of changes to
its tables."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

from engine.errors import EngineError
from engine.kernel import calls

_VERSIONS = ((socket.AF_INET, socket.SOL_IP, "ip"), (socket.AF_INET6, socket.IPPROTO_IPV6, "ip6"))
_GET_INFO, _GET_ENTRIES = 64, 65  # IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES; the same for IPv6
_INFO, _HEAD = 84, 40
"""Bytes of struct ipt_getinfo, whose last four are the size of the entries, and of struct ipt_get_entries without them."""
_OURS = b"COMPOSER-FORWARD\0", b"COMPOSER-NAT\0"
"""Chains that exist while a network has rules here (iptables.py)."""


def tables(prefix: str) -> list[str]:
    """The names of the tables in the namespace of this thread. `prefix`: ip or ip6."""
    with contextlib.suppress(OSError), open(f"/proc/thread-self/net/{prefix}_tables_names", encoding="utf-8") as file:
        return file.read().split()
    return []


def in_use() -> bool:
    """Whether tables exist in the namespace of this thread, for either IP version."""
    return any(tables(prefix) for *_, prefix in _VERSIONS)


def sizes() -> list[bytes]:
    """What changes with the number of rules of the tables filter and nat."""
    found = []
    for sock, level, _ in _sockets():
        for name in ("filter", "nat"):
            with contextlib.suppress(EngineError):
                found.append(_info(sock, level, name))
    return found


def has_ours() -> bool:
    """Whether networks of ours have their rules in these tables."""
    for sock, level, prefix in _sockets():
        for name in tables(prefix):
            with contextlib.suppress(EngineError):
                (size,) = struct.unpack_from("=I", _info(sock, level, name), _INFO - 4)
                request = struct.pack("=32sI", name.encode(), size)
                entries = calls.read_option(sock.fileno(), level, _GET_ENTRIES, request, _HEAD + size)
                if any(chain in entries for chain in _OURS):
                    return True
    return False


def _sockets() -> Iterator[tuple[socket.socket, int, str]]:
    for family, level, prefix in _VERSIONS:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            yield sock, level, prefix


def _info(sock: socket.socket, level: int, table: str) -> bytes:
    return calls.read_option(sock.fileno(), level, _GET_INFO, table.encode(), _INFO)
