"""Networks and published ports as elements of the sets and maps in our table."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable

from msgspec import Struct

from engine.net import options
from engine.net.firewall.netlink import IPV4, IPV6, Element
from engine.net.overlay import settings as overlay
from engine.spec.container import PortBinding
from engine.spec.network import NetworkRecord

_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_FAMILIES = {4: IPV4, 6: IPV6}
_PING = {4: 1, 6: 58}
"""Protocol numbers of ICMP and ICMPv6."""

Elements = dict[str, list[Element]]


class Port(Struct, frozen=True):
    """A published port of one IP version: `host_ip` is "" for every address of the host. `direct`: reachable only at
    the container's address (gateway mode routed)."""

    version: int
    host_ip: str
    host_port: int
    protocol: str
    address: str
    container_port: int
    direct: bool = False


def of_ports(v4: str, v6: str, bindings: Iterable[PortBinding]) -> list[Port]:
    """The bindings with the container's addresses ("" for none), for the IP version of their host address. A binding
    without a host port belongs to a routed network."""
    found = []
    for port in bindings:
        if port.host_ip.startswith("127.") or port.host_ip == "::1":
            continue  # the relay serves it
        where = "" if port.host_ip in ("", "0.0.0.0", "::") else port.host_ip
        for version, address in ((4, v4), (6, v6)):
            if address and (not port.host_ip or (":" in port.host_ip) == (version == 6)):
                number, direct = int(port.host_port or 0), not port.host_port
                found.append(Port(version, where, number, port.protocol, address, port.container_port, direct))
    return found


def of_network(record: NetworkRecord) -> Elements:
    name = _name(record.bridge)
    found: Elements = {"bridges": [Element(name, comment=record.id[:12])]}
    if options.is_true(record, options.ICC):
        found["within"] = [Element(name + name)]
    if record.spec.internal:
        found["internal"] = [Element(name)]
    if overlay.is_overlay(record):
        number = struct.pack(">I", overlay.identifier(record.spec) << 8)
        found["tunnels"] = [Element(number)]
        encrypted = overlay.is_encrypted(record.spec)
        source = number + (_name(overlay.WIREGUARD) if encrypted else b"")
        found["peers6" if encrypted else "peers4"] = [Element(source + _packed(peer)) for peer in record.peers]
    for link in filter(None, record.spec.driver_opts.get(options.TRUSTED, "").split(":")):
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
        yield f"gateways{version}", Element(name + _packed(gateway))
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
    if options.is_true(record, options.MASQUERADE):
        source = record.spec.driver_opts.get(options.SOURCE[version], "")
        if source:
            yield f"source{version}", Element(first, _packed(source), end)
        else:
            yield f"masquerade{version}", Element(first, end=end)


def of_port(port: Port, owner: str) -> tuple[str, Element]:
    """The set and the element. Its comment is the first twelve digits of `owner`."""
    protocol, owner = bytes((_PROTOCOLS[port.protocol], 0, 0, 0)), owner[:12]
    if port.direct:
        key = _packed(port.address) + protocol + _number(port.container_port)
        return f"direct{port.version}", Element(key, comment=owner)
    to = _packed(port.address) + _number(port.container_port)
    if port.host_ip:
        key = _packed(port.host_ip) + protocol + _number(port.host_port)
        return f"ports{port.version}", Element(key, to, comment=owner)
    return f"any{port.version}", Element(protocol + _number(port.host_port), to, comment=owner)


def merged(parts: Iterable[tuple[str, Element]]) -> Elements:
    found: Elements = {}
    for key, element in parts:
        found.setdefault(key, []).append(element)
    return found


def _name(link: str) -> bytes:
    return link.encode().ljust(16, b"\0")


def _number(port: int) -> bytes:
    return struct.pack(">HH", port, 0)


def _packed(address: str) -> bytes:
    if ":" in address:
        return ipaddress.IPv6Address(address.partition("%")[0]).packed
    return socket.inet_pton(socket.AF_INET, address)
