"""Delete tracked connections to addresses with a new owner. Otherwise a client that keeps sending (UDP has no end)
would reach the next container with the address, even on unpublished ports.

ctnetlink: include/uapi/linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import struct
from collections.abc import Collection, Iterable

from engine.errors import OperationFailed
from engine.net.netlink_abi import CONNTRACK, NETFILTER, attribute, attributes, nested
from engine.net.rtnetlink import Netlink
from engine.vocabulary import IP_PROTOCOLS

_GET, _DELETE = CONNTRACK << 8 | 1, CONNTRACK << 8 | 2
_ORIGINAL, _REPLY, _ZONE, _FILTER = 1, 2, 18, 25
_SOURCE, _PROTOCOL, _SOURCE_PORT = 0x1, 0x8, 0x10
"""Bits of CTA_FILTER: the parts of a tuple to compare (Linux 5.8)."""
_MANY = 10_000
"""With more connections than this, we query the kernel once per address instead of reading all."""

Ports = Collection[tuple[str, int]]
"""(protocol, host port)"""


def forget(addresses: Collection[str], ports: Ports = ()) -> None:
    """Delete the connections from and to these addresses, and those to host ports that are not translated. Failures are
    ignored: a kernel without connection tracking does not translate either."""
    with contextlib.suppress(OSError, OperationFailed):
        with open("/proc/sys/net/netfilter/nf_conntrack_count", encoding="ascii") as file:
            count = int(file.read())
        if not count:
            return
        packed = {_packed(address) for address in addresses}
        with _Conntrack() as kernel:
            entries = kernel.some(addresses, ports) if count >= _MANY else kernel.all()
            wanted = {(IP_PROTOCOLS[protocol], port) for protocol, port in ports}
            kernel.delete([one for one in entries if _concerns(one, packed, wanted)])


def _concerns(entry: bytes, addresses: Collection[bytes], ports: Collection[tuple[int, int]]) -> bool:
    if not ports and not any(address in entry for address in addresses):
        return False
    fields = attributes(entry[4:])
    original, reply = _tuple(fields.get(_ORIGINAL, b"")), _tuple(fields.get(_REPLY, b""))
    if {original[0], original[1], reply[0], reply[1]} & set(addresses):
        return True
    untranslated = original[0] == reply[1] and original[1] == reply[0]
    return untranslated and (original[2], original[3]) in ports


def _tuple(body: bytes) -> tuple[bytes, bytes, int, int]:
    """(source, destination, protocol, destination's port)"""
    parts = attributes(body)
    ip, protocol = attributes(parts.get(1, b"")), attributes(parts.get(2, b""))
    number = int.from_bytes(protocol.get(1, b""), "big")
    return ip.get(1, ip.get(3, b"")), ip.get(2, ip.get(4, b"")), number, int.from_bytes(protocol.get(3, b""), "big")


class _Conntrack(Netlink):
    def __init__(self) -> None:
        super().__init__(NETFILTER)

    def all(self) -> list[bytes]:
        return self.dump("list", "connections", _GET, bytes(4))[0]

    def some(self, addresses: Iterable[str], ports: Ports) -> list[bytes]:
        """Connections with one of the addresses as the source of either direction, or answered from one of the ports."""
        found: list[bytes] = []
        for address in addresses:
            v6 = ":" in address
            ip = nested(1, attribute(3 if v6 else 1, _packed(address)))
            for direction in (_ORIGINAL, _REPLY):
                found += self._filtered(socket.AF_INET6 if v6 else socket.AF_INET, direction, ip, _SOURCE)
        for protocol, port in ports:
            number = attribute(1, bytes((IP_PROTOCOLS[protocol],))) + attribute(2, struct.pack(">H", port))
            for family in (socket.AF_INET, socket.AF_INET6):
                found += self._filtered(family, _REPLY, nested(2, number), _PROTOCOL | _SOURCE_PORT)
        return found

    def _filtered(self, family: int, direction: int, part: bytes, compared: int) -> list[bytes]:
        bits = [(1, 0), (2, 0)]
        bits[direction - 1] = (direction, compared)
        chosen = b"".join(attribute(kind, struct.pack("=I", value)) for kind, value in bits)
        head = struct.pack("=BBH", family, 0, 0) + nested(direction, part) + nested(_FILTER, chosen)
        return self.dump("list", "connections", _GET, head)[0]

    def delete(self, entries: Iterable[bytes]) -> None:
        for entry in entries:
            fields = attributes(entry[4:])
            body = entry[:1] + bytes(3) + nested(_ORIGINAL, fields[_ORIGINAL])
            if zone := fields.get(_ZONE):
                body += attribute(_ZONE, zone)
            with contextlib.suppress(OperationFailed):
                self.command("delete", "connection", _DELETE, body, accept=(errno.ENOENT,))


def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed
