"""Published ports as elements of the sets and maps in our table."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from msgspec import Struct

from engine.net.firewall.elements import packed
from engine.net.firewall.netlink import Element
from engine.spec.container import PortBinding
from engine.vocabulary import IP_PROTOCOLS

_LOOPBACK6 = "::1"


class Port(Struct, frozen=True):
    """A published port of one IP version: `host_ip` is "" for every address of the host. `direct`: reachable only at
    the container's address (gateway mode routed). `inlet`: the relay's port to which packets are directed; `address` is
    then "". `origin`: `address` is the source of packets from 127.0.0.1."""

    version: int
    host_ip: str
    host_port: int
    protocol: str
    address: str
    container_port: int
    direct: bool = False
    inlet: int = 0
    origin: bool = False


def of_bindings(v4: str, v6: str, bindings: Iterable[PortBinding]) -> list[Port]:
    """The bindings with the container's addresses ("" for none), for the IP version of their host address. A binding
    without a host port belongs to a routed network."""
    found = []
    for port, version, where in _versions(bindings):
        if address := v6 if version == 6 else v4:
            number, direct = int(port.host_port or 0), not port.host_port
            found.append(Port(version, where, number, port.protocol, address, port.container_port, direct))
    return found


def for_relay(v4: str, v6: str, bindings: Iterable[PortBinding]) -> list[Port]:
    """The ports that packets reach through the relay: those of an IP version of which the container has no address, and
    those on ::1, where the relay also serves programs that listen by IPv4 only."""
    found = []
    for port, version, where in _versions(bindings):
        if not port.host_port or port.protocol not in ("tcp", "udp"):
            continue
        if version == 6 and v6 and where in ("", _LOOPBACK6):
            where = _LOOPBACK6
        elif v6 if version == 6 else v4:
            continue
        found.append(Port(version, where, int(port.host_port), port.protocol, "", port.container_port))
    return found


def from_loopback(gateway: str, bindings: Iterable[PortBinding]) -> list[Port]:
    """The ports that are open on 127.0.0.1: what is sent there comes to the container from its IPv4 gateway."""
    found = []
    for port, version, where in _versions(bindings):
        if version == 4 and port.host_port and (not where or is_loopback(where)):
            found.append(Port(4, where, int(port.host_port), port.protocol, gateway, port.container_port, origin=True))
    return found


def is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == _LOOPBACK6


def _versions(bindings: Iterable[PortBinding]) -> Iterator[tuple[PortBinding, int, str]]:
    """Each binding with its IP versions, and the address that it is limited to."""
    for port in bindings:
        where = "" if port.host_ip in ("", "0.0.0.0", "::") else port.host_ip
        for version in (4, 6):
            if not port.host_ip or (":" in port.host_ip) == (version == 6):
                yield port, version, where


def element(port: Port, owner: str) -> tuple[str, Element]:
    """The set and the element. Its comment is the first twelve digits of `owner`."""
    protocol, owner = bytes((IP_PROTOCOLS[port.protocol], 0, 0, 0)), owner[:12]
    if port.direct:
        key = packed(port.address) + protocol + _number(port.container_port)
        return f"direct{port.version}", Element(key, comment=owner)
    if port.inlet:
        kind, to = "relayed_", struct.pack(">H", port.inlet)
    elif port.origin:
        kind, to = "origin_", packed(port.address)
    else:
        kind, to = "", packed(port.address) + _number(port.container_port)
    key = protocol + _number(port.host_port)
    if port.host_ip:
        return f"{kind}ports{port.version}", Element(packed(port.host_ip) + key, to, comment=owner)
    return f"{kind}any{port.version}", Element(key, to, comment=owner)


def _number(port: int) -> bytes:
    return struct.pack(">HH", port, 0)
