"""A fast check whether the host forwards packets: `up` does it even when there is nothing else to do.

A single dump, and no slow imports, to keep a no-op `up` fast.
"""

from __future__ import annotations

import contextlib
import socket
import struct

from engine.net.fixed_names import BRIDGE_PREFIX, FIREWALLD, IPTABLES_CHAIN, IPTABLES_TABLE, TABLE_PREFIX
from engine.net.netlink_abi import NETFILTER, NFTABLES, attribute, attributes
from engine.net.quick_dump import connected, dump

_GETCHAIN, _GETRULE = NFTABLES << 8 | 4, NFTABLES << 8 | 7
_FORWARD, _DROP = 2, 0
_FAMILIES = {1: "inet", 2: "ip", 10: "ip6"}


def forwards() -> bool:
    """Whether IPv4 packets are forwarded (sysctl net.ipv4.ip_forward)."""
    try:
        with open("/proc/sys/net/ipv4/ip_forward", encoding="utf-8") as file:
            return file.read(1) != "0"
    except OSError:
        return True


def dropping() -> str:
    """The foreign chain ("inet admin forward") that drops forwarded packets and does not mention our bridges; "" if
    there is none. Chains of iptables and firewalld are skipped if they accept our bridges."""
    with contextlib.suppress(OSError, struct.error), connected(NETFILTER) as kernel:
        for family, body in _dump(kernel, _GETCHAIN, b""):
            fields = attributes(body)
            table, chain = _text(fields.get(1)), _text(fields.get(3))
            hook = attributes(fields.get(4, b"")).get(1, b"")
            policy = int.from_bytes(fields.get(5, b"\1"), "big")
            if int.from_bytes(hook, "big") != _FORWARD or not hook or policy != _DROP or family not in _FAMILIES:
                continue
            if (
                table.startswith(TABLE_PREFIX)
                or table == FIREWALLD
                or (table, chain) == (IPTABLES_TABLE, IPTABLES_CHAIN)
            ):
                continue
            rules = _dump(kernel, _GETRULE, attribute(1, table.encode() + b"\0"))
            if not any(BRIDGE_PREFIX.encode() in rule for _, rule in rules):
                return f"{_FAMILIES[family]} {table} {chain}"
    return ""


def _dump(kernel: socket.socket, kind: int, body: bytes) -> list[tuple[int, bytes]]:
    """(family, attributes) of each object."""
    return [(message[0], message[4:]) for message in dump(kernel, kind, bytes(4) + body)]


def _text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode(errors="replace")
