"""Published ports as elements of the sets and maps in our table."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from msgspec import Struct

from engine.net.firewall.elements import packed
from engine.net.firewall.netlink import Element
from engine.spec.container import IP_PROTOCOLS, PortBinding


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


def of_bindings(v4: str, v6: str, bindings: Iterable[PortBinding]) -> list[Port]:
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


def element(port: Port, owner: str) -> tuple[str, Element]:
    """The set and the element. Its comment is the first twelve digits of `owner`."""
    protocol, owner = bytes((IP_PROTOCOLS[port.protocol], 0, 0, 0)), owner[:12]
    if port.direct:
        key = packed(port.address) + protocol + _number(port.container_port)
        return f"direct{port.version}", Element(key, comment=owner)
    to = packed(port.address) + _number(port.container_port)
    if port.host_ip:
        key = packed(port.host_ip) + protocol + _number(port.host_port)
        return f"ports{port.version}", Element(key, to, comment=owner)
    return f"any{port.version}", Element(protocol + _number(port.host_port), to, comment=owner)


def _number(port: int) -> bytes:
    return struct.pack(">HH", port, 0)
