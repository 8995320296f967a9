"""A fast check for changes that the host has made to our networks. Every `up` makes it, so it needs only one dump and
no slow imports."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from engine.net.fixed_names import BRIDGE_PREFIX
from engine.net.quick_dump import attributes, connected, dump
from engine.spec.network import LAN_DRIVERS, NetworkRecord

_RTM_GETROUTE = 26
_RTMSG = 12
"""Bytes of struct rtmsg (rtnetlink(7))."""
_RTN_UNICAST, _RTA_DST, _RTA_OIF = 1, 1, 4
_MOST = 10_000
"""The most routes that we examine. An Internet router has a million."""
DEFAULT_LIKE = 7
"""The longest prefix of routes that act as a default route: VPNs use two of length 1, or several longer ones."""


def missing_links(records: Iterable[NetworkRecord]) -> set[str]:
    """The names of the networks whose bridge another program has removed."""
    found = set()
    for record in records:
        if record.bridge and record.spec.driver not in LAN_DRIVERS:
            try:
                socket.if_nametoindex(record.bridge)
            except OSError:
                found.add(record.spec.name)
    return found


def conflicting_routes(records: Sequence[NetworkRecord]) -> dict[str, str]:
    """Network → route of another link ("172.17.0.0/16 of link docker0") that leads its addresses elsewhere. A wider route
    counts only if we chose the subnet; a user who chooses part of a wider route does so knowingly."""
    wanted = [one for record in records for one in _subnets(record)]
    found: dict[str, str] = {}
    for family, length, destination, link in _routes() if wanted else ():
        for one in wanted:
            if one.family != family or (length < one.length and one.chosen) or not one.overlaps(length, destination):
                continue
            name = _name(link)
            if name != one.record.bridge and not name.startswith(BRIDGE_PREFIX):
                route = f"{socket.inet_ntop(family, destination)}/{length}"
                found.setdefault(one.record.spec.name, f"{route} of link {name}")
    return found


class _Subnet(Struct, frozen=True):
    """`chosen`: by the user."""

    record: NetworkRecord
    family: int
    address: bytes
    length: int
    chosen: bool

    def overlaps(self, length: int, destination: bytes) -> bool:
        shift = 8 * len(self.address) - min(length, self.length)
        return int.from_bytes(self.address, "big") >> shift == int.from_bytes(destination, "big") >> shift


def _subnets(record: NetworkRecord) -> Iterator[_Subnet]:
    """The subnets of a network whose bridge has an address."""
    options = record.spec.driver_opts
    if record.spec.driver in LAN_DRIVERS or options.get("com.docker.network.bridge.inhibit_ipv4") in ("true", "1"):
        return
    if "isolated" in (options.get(f"com.docker.network.bridge.gateway_mode_ipv{version}") for version in (4, 6)):
        return
    given = {pool.subnet for pool in record.spec.pools}
    for pool in record.pools:
        address, _, length = pool.subnet.partition("/")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        yield _Subnet(record, family, socket.inet_pton(family, address), int(length), pool.subnet in given)


def _name(link: int) -> str:
    try:
        return socket.if_indextoname(link)
    except OSError:
        return str(link)


def _routes() -> Iterator[tuple[int, int, bytes, int]]:
    """(family, prefix length, destination, index of the link) of unicast routes in all tables, without those that act as a
    default route."""
    with contextlib.suppress(OSError, struct.error), connected(socket.NETLINK_ROUTE) as kernel:
        for message in itertools.islice(dump(kernel, _RTM_GETROUTE, bytes(_RTMSG)), _MOST):
            family, prefix, kind = message[0], message[1], message[7]
            if kind == _RTN_UNICAST and prefix > DEFAULT_LIKE:
                fields = attributes(message[_RTMSG:])
                if (destination := fields.get(_RTA_DST)) and (link := fields.get(_RTA_OIF)):
                    yield family, prefix, destination, int.from_bytes(link, sys.byteorder)
