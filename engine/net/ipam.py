"""Which subnet a network gets and which address a container; leases live in the database."""

from __future__ import annotations

import ipaddress
import sqlite3
from collections.abc import Iterator, Sequence

from engine.errors import Conflict, InvalidSpec, PoolExhausted
from engine.spec.network import NetworkRecord, NetworkSpec, Pool
from engine.store import Store

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _default_pools() -> Iterator[ipaddress.IPv4Network]:
    """Docker's default address pools, in its order."""
    for second in range(17, 32):
        yield ipaddress.IPv4Network(f"172.{second}.0.0/16")
    yield from ipaddress.IPv4Network("192.168.0.0/16").subnets(new_prefix=20)


def host_routes() -> list[ipaddress.IPv4Network]:
    """The destinations the host routes already, but its default route (/proc/net/route)."""
    found = []
    with open("/proc/net/route", encoding="utf-8") as file:
        next(file)
        for line in file:
            fields = line.split()
            destination, mask = (int.from_bytes(bytes.fromhex(fields[i]), "little") for i in (1, 7))
            if mask:
                found.append(ipaddress.IPv4Network((destination, bin(mask).count("1")), strict=False))
    return found


def choose_pools(db: sqlite3.Connection, spec: NetworkSpec) -> tuple[Pool, ...]:
    """The network's pools with subnet and gateway filled, free of what other networks and the host use."""
    taken: list[tuple[Network, str]] = [
        (ipaddress.ip_network(subnet), f"network {name}") for subnet, name in db.execute("SELECT subnet, network FROM subnets")
    ]
    pools = []
    for pool in spec.pools:
        if pool.subnet:
            subnet = _subnet(pool.subnet, spec.name)
            for other, owner in taken:
                if subnet.version == other.version and subnet.overlaps(other):
                    raise PoolExhausted(
                        f"network {spec.name}: subnet {subnet} overlaps {other} of {owner}",
                        hint="Choose another subnet in networks.*.ipam.config, or remove that network.",
                    )
            pools.append(_complete(pool, subnet))
            taken.append((subnet, f"network {spec.name}"))
    wants_v4 = spec.enable_ipv4 and not any("." in pool.subnet for pool in pools)
    if wants_v4:
        subnet = _free([other for other, _ in taken if other.version == 4], spec.name)
        asked = next((pool for pool in spec.pools if not pool.subnet), Pool())
        pools.insert(0, _complete(asked, subnet))
    if spec.enable_ipv6 and not any(":" in pool.subnet for pool in pools):
        pools.append(_complete(Pool(), _local_v6(spec.name)))
    return tuple(pools)


def _subnet(text: str, name: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidSpec(f"network {name}: {text!r} is no subnet: {error}") from error


def _complete(pool: Pool, subnet: Network) -> Pool:
    gateway = pool.gateway or str(subnet[1])
    if ipaddress.ip_address(gateway) not in subnet:
        raise InvalidSpec(f"the gateway {gateway} is not in the subnet {subnet}")
    return Pool(subnet=str(subnet), gateway=gateway, ip_range=pool.ip_range, aux_addresses=pool.aux_addresses)


def _free(taken: Sequence[Network], name: str) -> ipaddress.IPv4Network:
    used = [*taken, *host_routes()]
    for candidate in _default_pools():
        if not any(candidate.overlaps(other) for other in used):
            return candidate
    raise PoolExhausted(
        f"network {name}: all of the default address pools are in use",
        hint="Remove networks that are not used, or give this one a subnet in networks.*.ipam.config.",
    )


def _local_v6(name: str) -> ipaddress.IPv6Network:
    """A unique local subnet (RFC 4193), the same for the same name."""
    import hashlib

    digest = hashlib.sha256(name.encode()).digest()
    return ipaddress.IPv6Network((b"\xfd" + digest[:7] + bytes(8), 64))


def lease(db: sqlite3.Connection, network: NetworkRecord, owner: str, *, v4: str = "", v6: str = "") -> dict[int, tuple[str, Pool]]:
    """Addresses for `owner` on `network`, by IP version: the asked ones, or the lowest free. Inside a transaction.

    A lease that `owner` holds already is given again. Raises Conflict and PoolExhausted.
    """
    rows = db.execute("SELECT address, owner FROM addresses WHERE network = ?", (network.spec.name,)).fetchall()
    held = {address: holder for address, holder in rows}
    found: dict[int, tuple[str, Pool]] = {}
    for pool in network.pools:
        subnet = ipaddress.ip_network(pool.subnet)
        if subnet.version in found:
            continue
        asked = v4 if subnet.version == 4 else v6
        if asked:
            if ipaddress.ip_address(asked) not in subnet:
                continue
            address = str(ipaddress.ip_address(asked))
            if held.get(address, owner) != owner or address == pool.gateway:
                raise Conflict(f"network {network.spec.name}: address {address} is already in use")
        else:
            address = _lowest(subnet, pool, held, owner, network.spec.name)
        db.execute("INSERT OR IGNORE INTO addresses VALUES (?, ?, ?)", (network.spec.name, address, owner))
        found[subnet.version] = (address, pool)
    for version, asked in ((4, v4), (6, v6)):
        if asked and version not in found:
            raise InvalidSpec(
                f"network {network.spec.name}: address {asked} is in none of its subnets",
                hint="A fixed address needs a subnet of yours in networks.*.ipam.config.",
            )
    return found


def _lowest(subnet: Network, pool: Pool, held: dict[str, str], owner: str, name: str) -> str:
    within = ipaddress.ip_network(pool.ip_range, strict=False) if pool.ip_range else subnet
    avoid = {pool.gateway, *pool.aux_addresses.values(), str(subnet.network_address), str(subnet.broadcast_address)}
    for address, holder in held.items():
        if holder == owner and ipaddress.ip_address(address) in subnet:
            return address
    for candidate in within:
        text = str(candidate)
        if text not in avoid and text not in held:
            return text
    raise PoolExhausted(f"network {name}: no free address is left in {within}")


def release(store: Store, owner: str) -> None:
    """Give all of the owner's addresses back."""
    with store.transaction() as db:
        db.execute("DELETE FROM addresses WHERE owner = ?", (owner,))
