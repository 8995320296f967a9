"""Networks as elements of the sets and maps in our table; `published_ports.py` does the same for ports."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable

from engine.net import options
from engine.net.firewall.netlink import IPV4, IPV6, Element
from engine.net.overlay import settings as overlay
from engine.spec import networkoptions
from engine.spec.network import NetworkRecord

_FAMILIES = {4: IPV4, 6: IPV6}
_PING = {4: 1, 6: 58}
"""Protocol numbers of ICMP and ICMPv6."""

Elements = dict[str, list[Element]]


def of_network(record: NetworkRecord) -> Elements:
    name = _name(record.bridge)
    found: Elements = {"bridges": [Element(name, comment=record.id[:12])]}
    if options.is_true(record, networkoptions.ICC):
        found["within"] = [Element(name + name)]
    if record.spec.internal:
        found["internal"] = [Element(name)]
    if overlay.is_overlay(record):
        number = struct.pack(">I", overlay.identifier(record.spec) << 8)
        found["tunnels"] = [Element(number)]
        encrypted = overlay.is_encrypted(record.spec)
        source = number + (_name(overlay.WIREGUARD) if encrypted else b"")
        found["peers6" if encrypted else "peers4"] = [Element(source + packed(peer)) for peer in record.peers]
    for link in filter(None, record.spec.driver_opts.get(networkoptions.TRUSTED, "").split(":")):
        found.setdefault("trusted", []).append(Element(_name(link.strip()) + name))
    for pool in record.pools:
        subnet = ipaddress.ip_network(pool.subnet)
        for key, element in _pool(record, name, subnet, pool.gateway):
            found.setdefault(key, []).append(element)
    return found


def _pool(
    record: NetworkRecord, name: bytes, subnet: ipaddress.IPv4Network | ipaddress.IPv6Network, gateway: str
) -> Iterable[tuple[str, Element]]:
    version = subnet.version
    mode = options.gateway_mode(record, version)
    if gateway and mode != "isolated":
        yield f"gateways{version}", Element(name + packed(gateway))
    if record.spec.internal:
        return
    if mode == "nat-unprotected":
        yield "unprotected", Element(name + bytes((_FAMILIES[version], 0, 0, 0)))
    if mode == "routed":
        yield "routed", Element(name + bytes((_PING[version], 0, 0, 0)))
        return
    first = subnet.network_address.packed
    end = (int(subnet.broadcast_address) + 1).to_bytes(len(first) + 1, "big")[-len(first) :]
    yield f"subnets{version}", Element(first, end=end)
    if gateway and version == 4:
        yield "origins4", Element(packed(gateway))
    if options.is_true(record, networkoptions.MASQUERADE):
        source = record.spec.driver_opts.get(networkoptions.SOURCE[version], "")
        if source:
            yield f"source{version}", Element(first, packed(source), end)
        else:
            yield f"masquerade{version}", Element(first, end=end)


def merged(parts: Iterable[tuple[str, Element]]) -> Elements:
    found: Elements = {}
    for key, element in parts:
        found.setdefault(key, []).append(element)
    return found


def _name(link: str) -> bytes:
    return link.encode().ljust(16, b"\0")


def packed(address: str) -> bytes:
    """The address in network byte order."""
    if ":" in address:
        return ipaddress.IPv6Address(address.partition("%")[0]).packed
    return socket.inet_pton(socket.AF_INET, address)
