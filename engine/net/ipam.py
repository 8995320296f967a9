"""Assign subnets to networks and addresses to containers; the database has the leases."""

from __future__ import annotations

import bisect
import functools
import ipaddress
import itertools
import socket
import sqlite3
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from engine.errors import Conflict, EngineError, InvalidSpec, PoolExhausted
from engine.net import preferences
from engine.net.host_changes import DEFAULT_LIKE
from engine.net.overlay import settings as overlay
from engine.net.rtnetlink import Rtnetlink
from engine.spec.network import OVERLAY, NetworkRecord, NetworkSpec, Pool
from engine.store import Store

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Lease = dict[int, tuple[str, Pool]]
"""IP version → address and its pool."""

_QUAD = struct.Struct(">I")


_POOLS = {4: (("172.17.0.0", "172.31.255.255"), ("192.168.0.0", "192.168.255.255"))}
"""First and last address of the ranges for subnets of networks, as in Docker."""

_SIZE = 24
"""The prefix length of a default subnet: there is room for 4,000 networks."""

GATEWAY = {4: "DefaultGatewayIPv4", 6: "DefaultGatewayIPv6"}
"""The auxiliary address that is the containers' gateway, in place of the bridge's address."""


@functools.lru_cache(maxsize=4096)
def subnet_of(text: str) -> Network:
    """The parsed subnet of a pool, cached because parsing takes as long as the rest of a lease."""
    return ipaddress.ip_network(text)


def host_routes() -> list[tuple[int, int, int]]:
    """(IP version, first, last address) of the host's routes in all tables, without default routes and their
    equivalents."""
    with Rtnetlink() as kernel:
        found = []
        for family, version, bits in ((socket.AF_INET, 4, 32), (socket.AF_INET6, 6, 128)):
            for length, destination in kernel.routes(family):
                if length > DEFAULT_LIKE and destination:
                    first = int.from_bytes(destination, "big")
                    found.append((version, first, first | (1 << bits - length) - 1))
        return found


_Taken = tuple[int, int, str, str]
"""First and last address, the subnet, the network that has it."""


class Subnets:
    """The subnets of all networks and the routes of the host, read once for all networks that are created together."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._taken: dict[int, list[_Taken]] = {4: [], 6: []}
        """By IP version, in the order of the addresses."""
        for subnet, name in db.execute("SELECT subnet, network FROM subnets"):
            found = subnet_of(subnet)
            self._taken[found.version].append((*_span(found), subnet, name))
        for listed in self._taken.values():
            listed.sort()
        self._routes: list[tuple[int, int, int]] | None = None

    def choose(self, spec: NetworkSpec) -> tuple[Pool, ...]:
        """The network's pools with subnet and gateway filled in, which do not overlap other networks and the host. Subnets of an
        IP version that the network has not enabled are ignored, as in Docker. Raises InvalidSpec (malformed, or outside of
        its subnet) and PoolExhausted (overlap, no default pool left)."""
        before = {version: list(listed) for version, listed in self._taken.items()}
        try:
            return self._choose(spec)
        except EngineError:
            self._taken = before
            raise

    def _choose(self, spec: NetworkSpec) -> tuple[Pool, ...]:
        pools = []
        for pool in overlay.pools(spec) if spec.driver == OVERLAY else spec.pools:
            requested = _network(pool.subnet, spec.name) if pool.subnet else None
            if requested is None or not (spec.enable_ipv4 if requested.version == 4 else spec.enable_ipv6):
                continue
            subnet = requested
            if requested.network_address.is_unspecified:
                subnet = self._free(spec.name, requested.version, requested.prefixlen)
            pools.append(_complete(pool, self._take(subnet, spec.name), spec.name))
        for version in (6,) if spec.ipam_driver == "dhcp" else (4, 6):
            if getattr(spec, f"enable_ipv{version}") and not any(
                (":" in pool.subnet) == (version == 6) for pool in pools
            ):
                subnet = self._take(self._free(spec.name, version), spec.name)
                bare = next((pool for pool in spec.pools if not pool.subnet), Pool()) if version == 4 else Pool()
                pools.insert(0 if version == 4 else len(pools), _complete(bare, subnet, spec.name))
        return tuple(pools)

    def _take(self, subnet: Network, name: str) -> Network:
        first, last = _span(subnet)
        listed = self._taken[subnet.version]
        for low, high, other, owner in listed:
            if first <= high and low <= last:
                raise PoolExhausted(
                    f"network {name}: subnet {subnet} overlaps {other} of network {owner}",
                    hint="Choose another subnet in networks.*.ipam.config, or remove that network.",
                )
        bisect.insort(listed, (first, last, str(subnet), name))
        return subnet

    def _free(self, name: str, version: int, size: int = 0) -> Network:
        """The first subnet of the pools, with a prefix of this length, that neither a network nor a route of the host has."""
        if self._routes is None:
            self._routes = host_routes()
        busy = [(low, high) for low, high, _, _ in self._taken[version]]
        busy += [(first, last) for which, first, last in self._routes if which == version]
        return _first_free(sorted(busy), name, version, size)


@functools.lru_cache(maxsize=4096)
def _span(subnet: Network) -> tuple[int, int]:
    """The first and the last address."""
    return int(subnet[0]), int(subnet[-1])


def _network(text: str, name: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidSpec(f"network {name}: {text!r} is not a valid subnet: {error}") from error


def _address(text: str, name: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise InvalidSpec(f"network {name}: {text!r} is not a valid address: {error}") from error


def _complete(pool: Pool, subnet: Network, name: str) -> Pool:
    """The pool with every field checked and in canonical form."""
    if subnet.num_addresses < 2:
        raise InvalidSpec(f"network {name}: the subnet {subnet} is too small for a gateway and a container")
    auxiliary = {key: _address(text, name) for key, text in pool.aux_addresses.items()}
    within = _network(pool.ip_range, name) if pool.ip_range else None
    if within and not (within.version == subnet.version and int(within[0]) >= int(subnet[0]) and within[-1] in subnet):
        raise InvalidSpec(f"network {name}: ip_range {within} is not in the subnet {subnet}")
    gateway = _address(pool.gateway, name) if pool.gateway else _first(within or subnet, subnet, auxiliary.values())
    for subject, address in {"gateway": gateway, **{f"aux_addresses.{key}": a for key, a in auxiliary.items()}}.items():
        if address not in subnet:
            raise InvalidSpec(f"network {name}: {subject} {address} is not in the subnet {subnet}")
    return Pool(
        subnet=str(subnet),
        gateway=str(gateway),
        ip_range=str(within or ""),
        aux_addresses={key: str(address) for key, address in auxiliary.items()},
    )


def _first(within: Network, subnet: Network, auxiliary: Collection[Address]) -> Address:
    """The first address for a gateway."""
    unusable = {*map(int, auxiliary), *map(int, _edges(subnet))}
    first = next((one for one in range(int(within[0]), int(within[-1])) if one not in unusable), int(within[-1]))
    return ipaddress.IPv4Address(first) if subnet.version == 4 else ipaddress.IPv6Address(first)


def _edges(subnet: Network) -> tuple[Address, ...]:
    """The addresses of the network itself and of all its hosts; two hosts alone have neither (RFC 3021, RFC 6164)."""
    return (subnet[0], subnet.broadcast_address) if subnet.num_addresses > 2 else ()


def _first_free(busy: Sequence[tuple[int, int]], name: str, version: int, size: int) -> Network:
    """`busy`: first and last addresses, in their order."""
    bits = 32 if version == 4 else 128
    for lowest, highest, length in _ranges(name, version, size):
        step = 1 << bits - length
        start = -(-lowest // step) * step
        for first, last in busy:
            if last >= start and first < start + step:
                start = -(-(last + 1) // step) * step
        if start + step - 1 <= highest:
            return ipaddress.ip_network((start, length))
    raise PoolExhausted(
        f"network {name}: all of the default address pools are in use",
        hint="Remove unused networks, set a subnet in networks.*.ipam.config, or add pools in networks.toml.",
    )


def _ranges(name: str, version: int, size: int) -> Iterator[tuple[int, int, int]]:
    """First and last address of the range to search for subnets, and their prefix length: `size`, or the default."""
    if version == 4:
        requested = preferences.read().pools
        for pool in requested:
            base = ipaddress.ip_network(pool.base)
            yield int(base[0]), int(base[-1]), size or pool.size
        for first_and_last in () if requested else _POOLS[4]:
            first, last = (int(ipaddress.IPv4Address(one)) for one in first_and_last)
            yield first, last, size or _SIZE
        return
    step = 1 << 128 - (size or 64)
    # A unique local subnet (RFC 4193), the same for the same name.
    import hashlib

    digest = hashlib.sha256(name.encode()).digest()
    first = int.from_bytes(b"\xfd" + digest[:7] + bytes(8), "big") // step * step
    yield first, first + max(step, 1 << 64) * 256 - 1, size or 64


def lease(
    db: sqlite3.Connection,
    network: NetworkRecord,
    owner: str,
    *,
    v4: str = "",
    v6: str = "",
    avoid: Iterable[str] = (),
) -> Lease:
    """Lease addresses for `owner` on `network`, by IP version: the requested ones, or the lowest free ones that are not
    in `avoid`. Inside a transaction. An existing lease of `owner` is returned again. Raises InvalidSpec, Conflict and
    PoolExhausted.
    """
    name = network.spec.name
    leases = dict(db.execute("SELECT address, owner FROM addresses WHERE network = ?", (name,)).fetchall())
    requested = {version: _address(text, name) for version, text in ((4, v4), (6, v6)) if text}
    found: Lease = {}
    for pool in network.pools:
        subnet = subnet_of(pool.subnet)
        if subnet.version in found:
            continue
        wish = requested.get(subnet.version)
        if wish is None:
            address = _lowest(subnet, pool, leases, owner, name, avoid)
        elif wish in subnet and not (network.spec.driver == OVERLAY and wish not in subnet_of(pool.ip_range)):
            address = _requested_address(db, wish, subnet, pool, leases, owner, name)
        else:
            continue
        db.execute("INSERT OR IGNORE INTO addresses VALUES (?, ?, ?)", (name, address, owner))
        found[subnet.version] = (address, pool)
    for version, wish in requested.items():
        if version not in found:
            if network.spec.driver == OVERLAY:
                own = ", ".join(pool.ip_range for pool in network.pools)
                raise InvalidSpec(f"network {name}: address {wish} is not in this host's part of the subnet, {own}")
            raise InvalidSpec(
                f"network {name}: address {wish} is in none of its subnets",
                hint="A fixed address requires a subnet in networks.*.ipam.config.",
            )
    return found


def note(
    db: sqlite3.Connection, network: NetworkRecord, owner: str, address: str, prefix: int, gateway: str
) -> tuple[str, Pool]:
    """Record an address that a DHCP server assigned; inside a transaction. Raises Conflict when a container has it."""
    name = network.spec.name
    row = db.execute("SELECT owner FROM addresses WHERE network = ? AND address = ?", (name, address)).fetchone()
    if row and row[0] != owner:
        raise _in_use(db, name, address, row[0])
    db.execute("INSERT OR IGNORE INTO addresses VALUES (?, ?, ?)", (name, address, owner))
    subnet = ipaddress.ip_network(f"{address}/{prefix}", strict=False)
    return address, Pool(subnet=str(subnet), gateway=gateway)


def _reserved(subnet: Network, pool: Pool) -> set[str]:
    """Addresses that no container may have."""
    return {pool.gateway, *pool.aux_addresses.values(), *map(str, _edges(subnet))}


def _in_use(db: sqlite3.Connection, network: str, address: str, owner: str) -> Conflict:
    row = db.execute("SELECT name FROM containers WHERE id = ?", (owner,)).fetchone()
    holder = row[0] if row else owner[:12]
    return Conflict(f"network {network}: address {address} is already in use by container {holder}")


def _requested_address(
    db: sqlite3.Connection, wish: Address, subnet: Network, pool: Pool, leases: Mapping[str, str], owner: str, name: str
) -> str:
    address = str(wish)
    if address in _reserved(subnet, pool):
        raise Conflict(
            f"network {name}: address {address} is reserved or belongs to the gateway or an auxiliary address"
        )
    if leases.get(address, owner) != owner:
        raise _in_use(db, name, address, leases[address])
    return address


def _lowest(
    subnet: Network, pool: Pool, leases: Mapping[str, str], owner: str, name: str, avoid: Iterable[str] = ()
) -> str:
    for address, holder in leases.items():
        if holder == owner and ipaddress.ip_address(address) in subnet:
            return address
    within = subnet_of(pool.ip_range) if pool.ip_range else subnet
    taken = {*_reserved(subnet, pool), *avoid, *leases}
    numbers = range(int(within[0]), int(within[-1]) + 1)
    if within.version == 4:
        candidates = map(socket.inet_ntoa, map(_QUAD.pack, numbers))  # in C: there may be hundreds in use
    else:
        candidates = map(str, map(ipaddress.IPv6Address, numbers))
    for text in itertools.filterfalse(taken.__contains__, candidates):
        return text
    raise PoolExhausted(f"network {name}: no free addresses left in {within}")


def release(store: Store, owner: str, network: str = "") -> None:
    """Release the owner's addresses: all, or those on one network."""
    with store.transaction(freeing=True) as db:
        db.execute("DELETE FROM addresses WHERE owner = ? AND ? IN (network, '')", (owner, network))
