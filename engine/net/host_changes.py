"""A fast check for changes that the host has made to our networks. Every `up` makes it, so it needs only three dumps
and no slow imports."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from engine.net import netlink_abi as abi
from engine.net.fixed_names import BRIDGE_PREFIX
from engine.net.netlink_abi import attributes
from engine.net.quick_dump import connected, dump
from engine.spec.network import LAN_DRIVERS, OVERLAY, NetworkRecord
from engine.spec.state import Endpoint

_SKIP_STATS = 8  # RTEXT_FILTER_SKIP_STATS
_RTMSG = 12
"""Bytes of struct rtmsg (rtnetlink(7))."""
_MOST = 10_000
"""The most routes that we examine. An Internet router has a million."""
DEFAULT_LIKE = 7
"""The longest prefix of routes that act as a default route: VPNs use two of length 1, or several longer ones."""


def routes() -> list[Route]:
    """Unicast routes in all tables, without those that act as a default route. At most _MOST of them."""
    return list(itertools.islice(_routes(), _MOST))


def missing_parts(
    records: Iterable[NetworkRecord], endpoints: Iterable[Endpoint] = (), known: Sequence[Route] | None = None
) -> dict[str, str]:
    """Network → what another program has removed or switched off: its bridge, an address or route of the bridge, or the
    link of one of `endpoints`, those of running containers. `known`: the routes, if they have been read already."""
    bridges = [record for record in records if record.bridge and record.spec.driver not in LAN_DRIVERS]
    if not bridges:
        return {}
    links = {link.name: link for link in _links()}
    addresses, known = set(_addresses()), routes() if known is None else known
    direct = {(one.link, one.destination, one.length) for one in known}
    found = {}
    for record in bridges:
        link = links.get(record.bridge)
        if link is None or not link.is_up:
            found[record.spec.name] = f"its bridge is {'down' if link else 'gone'}"
            continue
        for one in _subnets(record):
            if one.gateway and (link.index, socket.inet_pton(one.family, one.gateway)) not in addresses:
                found[record.spec.name] = f"the address {one.gateway} of its bridge is gone"
            elif one.gateway and (link.index, one.address, one.length) not in direct and len(known) < _MOST:
                found[record.spec.name] = "the route to its bridge is gone"
    masters = {record.spec.name: links[record.bridge].index for record in bridges if record.bridge in links}
    for end in endpoints:
        if end.host_interface and end.network in masters:
            port = links.get(end.host_interface)
            if port is None or not port.is_up or port.master != masters[end.network]:
                state = "gone" if port is None else "down" if not port.is_up else "not connected to its bridge"
                found.setdefault(end.network, f"the link {end.host_interface} of a container is {state}")
    return found


def conflicting_routes(records: Sequence[NetworkRecord], known: Sequence[Route] | None = None) -> dict[str, str]:
    """Network → route of another link ("172.17.0.0/16 of link docker0") that leads its addresses elsewhere. A wider route
    counts only if we chose the subnet; a user who chooses part of a wider route does so knowingly. `known`: the routes,
    if they have been read already."""
    wanted = [one for record in records for one in _subnets(record)]
    found: dict[str, str] = {}
    for route in (routes() if known is None else known) if wanted else ():
        for one in wanted:
            narrower = route.length < one.length and one.chosen
            if one.family != route.family or narrower or not one.overlaps(route.length, route.destination):
                continue
            name = _name(route.link)
            if name != one.record.bridge and not name.startswith(BRIDGE_PREFIX):
                text = f"{socket.inet_ntop(route.family, route.destination)}/{route.length}"
                found.setdefault(one.record.spec.name, f"{text} of link {name}")
    return found


def with_other_hosts(records: Iterable[NetworkRecord]) -> set[str]:
    """The names of the overlay networks whose hosts networks.toml has changed."""
    if not (found := [record for record in records if record.spec.driver == OVERLAY]):
        return set()
    from engine.net.overlay import settings  # late: few projects have such networks

    return {record.spec.name for record in found if settings.has_other_hosts(record)}


class Route(Struct, frozen=True):
    """`link`: the index of its link; `length`: of its prefix."""

    family: int
    length: int
    destination: bytes
    link: int


class _Link(Struct, frozen=True):
    """`master`: the index of its bridge, 0 for none."""

    name: str
    index: int
    is_up: bool
    master: int


class _Subnet(Struct, frozen=True):
    """`chosen`: by the user. `gateway`: the address of the bridge."""

    record: NetworkRecord
    family: int
    address: bytes
    length: int
    chosen: bool
    gateway: str

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
        yield _Subnet(
            record, family, socket.inet_pton(family, address), int(length), pool.subnet in given, pool.gateway
        )


def _name(link: int) -> str:
    try:
        return socket.if_indextoname(link)
    except OSError:
        return str(link)


def _routes() -> Iterator[Route]:
    with contextlib.suppress(OSError, struct.error), connected(socket.NETLINK_ROUTE) as kernel:
        for message in dump(kernel, abi.GETROUTE, bytes(_RTMSG)):
            family, prefix, kind = message[0], message[1], message[7]
            if kind == abi.RTN_UNICAST and prefix > DEFAULT_LIKE:
                fields = attributes(message[_RTMSG:])
                if (destination := fields.get(abi.RTA_DST)) and (link := fields.get(abi.RTA_OIF)):
                    yield Route(family, prefix, destination, int.from_bytes(link, sys.byteorder))


def _links() -> Iterator[_Link]:
    wanted = abi.LINK.pack(0, 0, 0, 0, 0) + abi.attribute(abi.IFLA_EXT_MASK, struct.pack("=I", _SKIP_STATS))
    with contextlib.suppress(OSError, struct.error), connected(socket.NETLINK_ROUTE) as kernel:
        for message in dump(kernel, abi.GETLINK, wanted):
            _, _, index, flags, _ = abi.LINK.unpack_from(message)
            fields = attributes(message[abi.LINK.size :])
            name = fields.get(abi.IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="surrogateescape")
            yield _Link(
                name, index, bool(flags & abi.IFF_UP), int.from_bytes(fields.get(abi.IFLA_MASTER, b""), sys.byteorder)
            )


def _addresses() -> Iterator[tuple[int, bytes]]:
    """(index of the link, address)"""
    with contextlib.suppress(OSError, struct.error), connected(socket.NETLINK_ROUTE) as kernel:
        for message in dump(kernel, abi.GETADDR, bytes(abi.ADDRESS.size)):
            *_, index = abi.ADDRESS.unpack_from(message)
            fields = attributes(message[abi.ADDRESS.size :])
            yield index, fields.get(abi.IFA_LOCAL) or fields.get(abi.IFA_ADDRESS, b"")
