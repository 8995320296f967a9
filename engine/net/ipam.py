"""Which subnet a network gets and which address a container; leases live in the database."""

from __future__ import annotations

import functools
import ipaddress
import itertools
import socket
import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence

from engine.errors import Conflict, InvalidSpec, PoolExhausted
from engine.spec.network import NetworkRecord, NetworkSpec, Pool
from engine.store import Store

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Lease = dict[int, tuple[str, Pool]]
"""IP version → address and the pool it is from."""

_QUAD = struct.Struct(">I")


def _default_pools() -> Iterator[ipaddress.IPv4Network]:
    """Docker's default address pools, in its order."""
    for second in range(17, 32):
        yield ipaddress.IPv4Network(f"172.{second}.0.0/16")
    yield from ipaddress.IPv4Network("192.168.0.0/16").subnets(new_prefix=20)


@functools.lru_cache(maxsize=256)
def subnet_of(text: str) -> Network:
    """The subnet of a pool; parsing it costs as much as all else of a lease."""
    return ipaddress.ip_network(text)


def host_routes() -> list[ipaddress.IPv4Network]:
    """The destinations the host routes already, but its default route (/proc/net/route)."""
    found = []
    with open("/proc/thread-self/net/route", encoding="utf-8") as file:
        next(file, None)
        for line in file:
            fields = line.split()
            destination, mask = (int.from_bytes(bytes.fromhex(fields[i]), "little") for i in (1, 7))
            if mask:
                found.append(ipaddress.IPv4Network((destination, mask.bit_count()), strict=False))
    return found


def choose_pools(db: sqlite3.Connection, spec: NetworkSpec) -> tuple[Pool, ...]:
    """The network's pools with subnet and gateway filled, free of what other networks and the host use.

    A subnet of an IP version that the network has not enabled plays no part, as in Docker.
    Raises InvalidSpec (malformed, or outside of its subnet) and PoolExhausted (overlap, no default pool left).
    """
    taken = [(_network(subnet, name), name) for subnet, name in db.execute("SELECT subnet, network FROM subnets")]
    pools = []
    for pool in spec.pools:
        if pool.subnet:
            subnet = _network(pool.subnet, spec.name)
            if not (spec.enable_ipv4 if subnet.version == 4 else spec.enable_ipv6):
                continue
            for other, owner in taken:
                if subnet.version == other.version and subnet.overlaps(other):
                    raise PoolExhausted(
                        f"network {spec.name}: subnet {subnet} overlaps {other} of network {owner}",
                        hint="Choose another subnet in networks.*.ipam.config, or remove that network.",
                    )
            pools.append(_complete(pool, subnet, spec.name))
            taken.append((subnet, spec.name))
    if spec.enable_ipv4 and not any("." in pool.subnet for pool in pools):
        subnet = _free([other for other, _ in taken], spec.name)
        asked = next((pool for pool in spec.pools if not pool.subnet), Pool())
        pools.insert(0, _complete(asked, subnet, spec.name))
    if spec.enable_ipv6 and not any(":" in pool.subnet for pool in pools):
        pools.append(_complete(Pool(), _unique_local(spec.name), spec.name))
    return tuple(pools)


def _network(text: str, name: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidSpec(f"network {name}: {text!r} is no subnet: {error}") from error


def _address(text: str, name: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise InvalidSpec(f"network {name}: {text!r} is no address: {error}") from error


def _complete(pool: Pool, subnet: Network, name: str) -> Pool:
    """The pool with every field checked and in canonical form."""
    if subnet.num_addresses < 4:
        raise InvalidSpec(f"network {name}: the subnet {subnet} has no room for a gateway and a container")
    gateway = _address(pool.gateway, name) if pool.gateway else subnet[1]
    auxiliary = {key: _address(text, name) for key, text in pool.aux_addresses.items()}
    for what, address in {"gateway": gateway, **{f"aux_addresses.{key}": a for key, a in auxiliary.items()}}.items():
        if address not in subnet:
            raise InvalidSpec(f"network {name}: {what} {address} is not in the subnet {subnet}")
    within = _network(pool.ip_range, name) if pool.ip_range else None
    if within and not (within.version == subnet.version and int(within[0]) >= int(subnet[0]) and within[-1] in subnet):
        raise InvalidSpec(f"network {name}: ip_range {within} is not in the subnet {subnet}")
    return Pool(
        subnet=str(subnet),
        gateway=str(gateway),
        ip_range=str(within or ""),
        aux_addresses={key: str(address) for key, address in auxiliary.items()},
    )


def _free(taken: Sequence[Network], name: str) -> ipaddress.IPv4Network:
    used = [*taken, *host_routes()]
    for candidate in _default_pools():
        if not any(candidate.version == other.version and candidate.overlaps(other) for other in used):
            return candidate
    raise PoolExhausted(
        f"network {name}: all of the default address pools are in use",
        hint="Remove networks that are not used, or give this one a subnet in networks.*.ipam.config.",
    )


def _unique_local(name: str) -> ipaddress.IPv6Network:
    """A unique local subnet (RFC 4193), the same for the same name."""
    import hashlib

    digest = hashlib.sha256(name.encode()).digest()
    return ipaddress.IPv6Network((b"\xfd" + digest[:7] + bytes(8), 64))


def lease(db: sqlite3.Connection, network: NetworkRecord, owner: str, *, v4: str = "", v6: str = "") -> Lease:
    """Addresses for `owner` on `network`, by IP version: the asked ones, or the lowest free. Inside a transaction.

    A lease that `owner` holds already is given again. Raises InvalidSpec, Conflict and PoolExhausted.
    """
    name = network.spec.name
    held = dict(db.execute("SELECT address, owner FROM addresses WHERE network = ?", (name,)).fetchall())
    asked = {version: _address(text, name) for version, text in ((4, v4), (6, v6)) if text}
    found: Lease = {}
    for pool in network.pools:
        subnet = subnet_of(pool.subnet)
        if subnet.version in found:
            continue
        wish = asked.get(subnet.version)
        if wish is None:
            address = _lowest(subnet, pool, held, owner, name)
        elif wish in subnet:
            address = _asked(wish, subnet, pool, held, owner, name)
        else:
            continue
        db.execute("INSERT OR IGNORE INTO addresses VALUES (?, ?, ?)", (name, address, owner))
        found[subnet.version] = (address, pool)
    for version, wish in asked.items():
        if version not in found:
            raise InvalidSpec(
                f"network {name}: address {wish} is in none of its subnets",
                hint="A fixed address needs a subnet of yours in networks.*.ipam.config.",
            )
    return found


def _reserved(subnet: Network, pool: Pool) -> set[str]:
    """Addresses that no container may have."""
    return {pool.gateway, *pool.aux_addresses.values(), str(subnet[0]), str(subnet.broadcast_address)}


def _asked(wish: Address, subnet: Network, pool: Pool, held: Mapping[str, str], owner: str, name: str) -> str:
    address = str(wish)
    if address in _reserved(subnet, pool):
        raise Conflict(f"network {name}: address {address} is its gateway's, an auxiliary or a reserved one")
    if held.get(address, owner) != owner:
        raise Conflict(f"network {name}: address {address} is already in use by container {held[address][:12]}")
    return address


def _lowest(subnet: Network, pool: Pool, held: Mapping[str, str], owner: str, name: str) -> str:
    for address, holder in held.items():
        if holder == owner and ipaddress.ip_address(address) in subnet:
            return address
    within = subnet_of(pool.ip_range) if pool.ip_range else subnet
    avoid = _reserved(subnet, pool)
    numbers = range(int(within[0]), int(within[-1]) + 1)
    if within.version == 4:
        candidates = map(socket.inet_ntoa, map(_QUAD.pack, numbers))  # in C: there may be hundreds in use
    else:
        candidates = map(str, map(ipaddress.IPv6Address, numbers))
    for text in itertools.filterfalse((avoid | held.keys()).__contains__, candidates):
        return text
    raise PoolExhausted(f"network {name}: no free address is left in {within}")


def release(store: Store, owner: str, network: str = "") -> None:
    """Give the owner's addresses back: all of them, or those on one network."""
    with store.transaction() as db:
        db.execute("DELETE FROM addresses WHERE owner = ? AND ? IN (network, '')", (owner, network))
