"""A container's endpoint on one network: addresses, names of the links on both sides, hardware address."""

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
from engine.net.fixed_names import HARDWARE_PREFIX
from engine.net.lan import settings as lan
from engine.spec.container import Attachment
from engine.spec.network import NetworkRecord, Pool
from engine.spec.state import Endpoint

_MAC = r"[0-9a-f]{2}(:[0-9a-f]{2}){5}"


class Given(Protocol):
    """An address with the prefix length of its subnet and its gateway, "" for none."""

    @property
    def address(self) -> str: ...

    @property
    def prefix(self) -> int: ...

    @property
    def gateway(self) -> str: ...


class Plan(Struct, frozen=True):
    """One attachment being set up. `routed`: it may have the default route. `published`: published ports may lead to
    it."""

    record: NetworkRecord
    attachment: Attachment
    endpoint: Endpoint
    sysctls: list[tuple[str, str]]
    routed: bool = True
    published: bool = True


def host_interface(container_id: str, index: int) -> str:
    """The name of the host's end of the pair, which contains the container's id."""
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
    """Lease addresses and name the links, inside a transaction. `taken`: names of the container's other links; `given`:
    the IPv4 address from a LAN's DHCP server. Raises as ipam.lease and options do."""
    name = options.interface(record, attachment, taken)
    sysctls = options.sysctls(attachment, name)
    mac = _checked_mac(record, attachment)
    address = "" if given else attachment.ipv4_address
    found = ipam.lease(db, record, container_id, v4=address, v6=attachment.ipv6_address, avoid=attachment.avoid)
    if given:
        found[4] = ipam.note(db, record, container_id, given.address, given.prefix, given.gateway)
    fields: dict[str, str | int] = {}
    for version, (address, pool) in found.items():
        fields[f"ipv{version}_address"] = address
        fields[f"ipv{version}_prefix"] = ipam.subnet_of(pool.subnet).prefixlen
        # An internal network has no gateway; names.py identifies it by that.
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


def _checked_mac(record: NetworkRecord, attachment: Attachment) -> str:
    """The requested MAC address, or "". Raises InvalidSpec for a wrong one, and for wrong link-local addresses."""
    mac = attachment.mac_address.lower().replace("-", ":")
    if mac and (not re.fullmatch(_MAC, mac) or int(mac[:2], 16) & 1 or not mac.strip("0:")):
        raise InvalidSpec(f"network {record.spec.name}: {attachment.mac_address!r} is not a valid MAC address")
    for address in attachment.link_local_ips:
        try:
            fits = ipaddress.ip_address(address).is_link_local
        except ValueError:
            fits = False
        if not fits:
            raise InvalidSpec(f"network {record.spec.name}: {address!r} is not a link-local address")
    return mac


def _gateway(record: NetworkRecord, version: int, pool: Pool) -> str:
    """The containers' gateway: "" when the bridge has no address and no other gateway is set."""
    if lan.is_lan(record) and lan.is_routed(record.spec):
        return "0.0.0.0" if version == 4 else "::"
    return pool.aux_addresses.get(ipam.GATEWAY[version], "") or (
        pool.gateway if options.has_address(record, version) else ""
    )


def is_closed(record: NetworkRecord) -> bool:
    """Whether the network has no route outside."""
    return record.spec.internal or (lan.is_lan(record) and not lan.parent(record.spec))


def outward(plans: Sequence[Plan]) -> list[Plan]:
    """The plans that lead outside, the one with the default route first: by gw_priority, then by name, as in Docker."""
    outside = [one for one in plans if not is_closed(one.record)]
    return sorted(outside, key=lambda one: (-one.attachment.gw_priority, one.record.spec.name))


def ordered(endpoints: Iterable[Endpoint], attachments: Iterable[Attachment]) -> list[Endpoint]:
    """A container's endpoints in the order of outward()."""
    priority = {one.network: one.gw_priority for one in attachments}
    return sorted(endpoints, key=lambda one: (-priority.get(one.network, 0), one.network))


def resolver_order(endpoints: Iterable[Endpoint], attachments: Iterable[Attachment]) -> list[Endpoint]:
    """The same, in the order in which its networks are asked for a name: those that lead outside first, as with Docker."""
    return sorted(ordered(endpoints, attachments), key=lambda one: not (one.ipv4_gateway or one.ipv6_gateway))


def routed(endpoints: Iterable[Endpoint]) -> tuple[str, str]:
    """The IPv4 and IPv6 address that published ports lead to: those of the default routes, by which the answers leave.
    "" for none, or if that is the host's LAN. `endpoints` in the order of ordered()."""
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
    """02:42 and the IPv4 address, so that an address always has the same hardware address in ARP caches."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return HARDWARE_PREFIX + socket.inet_pton(family, address)[-4:].hex(":")
