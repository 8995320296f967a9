"""What a container gets on one network: its addresses, its link's names on both sides, its hardware address."""

from __future__ import annotations

import ipaddress
import re
import socket
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from engine.errors import InvalidSpec
from engine.net import ipam, options
from engine.net.lan import settings as lan
from engine.spec.container import Attachment
from engine.spec.network import NetworkRecord, Pool
from engine.spec.state import Endpoint

_MAC = r"[0-9a-f]{2}(:[0-9a-f]{2}){5}"


class Given(Protocol):
    """An address with the length of its subnet's prefix, and the gateway there, "" for none."""

    @property
    def address(self) -> str: ...

    @property
    def prefix(self) -> int: ...

    @property
    def gateway(self) -> str: ...


class Plan(Struct, frozen=True):
    """One attachment on its way. `routed`: it may carry the default route. `published`: the container may have ports of its
    own that lead to it."""

    record: NetworkRecord
    attachment: Attachment
    endpoint: Endpoint
    sysctls: list[tuple[str, str]]
    routed: bool = True
    published: bool = True


def host_interface(container_id: str, index: int) -> str:
    """The host's end of the pair; its container can be read from it."""
    return f"cv{container_id[:11]}{index:02x}"


def plan(
    db: sqlite3.Connection,
    record: NetworkRecord,
    attachment: Attachment,
    container_id: str,
    index: int,
    taken: Collection[str] = (),
    given: Given | None = None,
) -> Plan:
    """Lease addresses and name the links; inside a transaction. `taken`: names of the container's other links; `given`: the
    IPv4 address of a LAN's DHCP server. Raises what ipam.lease and options do."""
    name = options.interface(record, attachment, taken)
    sysctls = options.sysctls(attachment, name)
    mac = attachment.mac_address.lower().replace("-", ":")
    if mac and (not re.fullmatch(_MAC, mac) or int(mac[:2], 16) & 1):
        raise InvalidSpec(f"network {record.spec.name}: {attachment.mac_address!r} is not a valid MAC address")
    for address in attachment.link_local_ips:
        try:
            fits = ipaddress.ip_address(address).is_link_local
        except ValueError:
            fits = False
        if not fits:
            raise InvalidSpec(f"network {record.spec.name}: {address!r} is not a link-local address")
    asked = "" if given else attachment.ipv4_address
    found = ipam.lease(db, record, container_id, v4=asked, v6=attachment.ipv6_address, avoid=attachment.avoid)
    if given:
        found[4] = ipam.note(db, record, container_id, given.address, given.prefix, given.gateway)
    fields: dict[str, str | int] = {}
    for version, (address, pool) in found.items():
        fields[f"ipv{version}_address"] = address
        fields[f"ipv{version}_prefix"] = ipam.subnet_of(pool.subnet).prefixlen
        # Without a way out there is no gateway; names.py knows an internal network by that.
        fields[f"ipv{version}_gateway"] = "" if is_closed(record) else _gateway(record, version, pool)
    made = Endpoint(
        network=record.spec.name,
        interface=name,
        host_interface="" if lan.is_lan(record) else host_interface(container_id, index),
        mac_address=mac if mac or record.spec.driver == "ipvlan" else _hardware(min(found.items())[1][0]),
        aliases=attachment.aliases,
        **fields,  # type: ignore[arg-type]
    )
    return Plan(record, attachment, made, sysctls)


def _gateway(record: NetworkRecord, version: int, pool: Pool) -> str:
    """By which address containers leave: "" when the bridge has none and no other is named."""
    if lan.is_lan(record) and lan.is_routed(record.spec):
        return "0.0.0.0" if version == 4 else "::"
    return pool.aux_addresses.get(ipam.GATEWAY[version], "") or (
        pool.gateway if options.has_address(record, version) else ""
    )


def is_closed(record: NetworkRecord) -> bool:
    """Whether the network has no way out."""
    return record.spec.internal or (lan.is_lan(record) and not lan.parent(record.spec))


def outward(plans: Sequence[Plan]) -> list[Plan]:
    """The plans that lead outside, the one that carries the default route first: by gw_priority, then by name, as with
    Docker."""
    outside = [one for one in plans if not is_closed(one.record)]
    return sorted(outside, key=lambda one: (-one.attachment.gw_priority, one.record.spec.name))


def ordered(endpoints: Iterable[Endpoint], attachments: Iterable[Attachment]) -> list[Endpoint]:
    """What a container got on its networks, in the order of outward()."""
    priority = {one.network: one.gw_priority for one in attachments}
    return sorted(endpoints, key=lambda one: (-priority.get(one.network, 0), one.network))


def routed(endpoints: Iterable[Endpoint]) -> tuple[str, str]:
    """The IPv4 and the IPv6 address to which published ports lead: those behind the default routes, by which the answers
    leave. "" for none, or where that is the host's own LAN. `endpoints` in the order of ordered()."""
    endpoints = list(endpoints)
    first = (
        next((one for one in endpoints if one.ipv4_gateway), Endpoint(network="")),
        next((one for one in endpoints if one.ipv6_gateway), Endpoint(network="")),
    )
    return (
        first[0].ipv4_address if first[0].host_interface else "",
        first[1].ipv6_address if first[1].host_interface else "",
    )


def _hardware(address: str) -> str:
    """02:42 and the last four bytes of the address: the same address never shows up with another one in ARP caches."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return "02:42:" + socket.inet_pton(family, address)[-4:].hex(":")
