"""Bridge networks: a row in the database, a bridge link, and rules; repaired after a crash at any point.

create: row ─▶ link, not up ─▶ rules ─▶ up, addresses ─▶ ifalias "composer:<state root>:<id>", the mark of a whole network
remove: removal.py
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import ModuleType

import msgspec
from msgspec.structs import replace

from engine import digest
from engine.errors import Conflict, EngineError, InvalidSpec
from engine.net import bridge_hold, ipam, options, preferences
from engine.net.firewall import backend, forwarding
from engine.net.firewall.published_ports import Port
from engine.net.fixed_names import BRIDGE_PREFIX, HARDWARE_PREFIX
from engine.net.lan import settings as lan
from engine.net.overlay import settings as overlay
from engine.net.rtnetlink import Link, Rtnetlink
from engine.paths import Roots
from engine.spec import networkoptions
from engine.spec.network import LAN_DRIVERS, OVERLAY, NetworkRecord, NetworkSpec, decode_network
from engine.store import Store
from engine.vocabulary import PREDEFINED_NETWORKS

DEFAULT = "bridge"
_whole: dict[str, int] = {}
"""Network id → interface index, for networks that this process has found complete."""


def get(store: Store, name: str) -> NetworkRecord | None:
    row = store.db.execute("SELECT record FROM networks WHERE name = ? OR id = ?", (name, name)).fetchone()
    return decode_network(row[0]) if row else None


def every(store: Store) -> list[NetworkRecord]:
    rows = store.db.execute("SELECT record FROM networks ORDER BY name")
    return [decode_network(row[0]) for row in rows]


def ruled(store: Store) -> list[NetworkRecord]:
    """The networks that have packet filter rules: bridges."""
    return [record for record in every(store) if not lan.is_lan(record)]


def in_use_by(store: Store, name: str) -> list[str]:
    """Names of the containers that hold an address of the network; the id if the name is unknown."""
    query = (
        "SELECT DISTINCT coalesce(containers.name, substr(owner, 1, 12)) FROM addresses "
        "LEFT JOIN containers ON containers.id = owner WHERE network = ? ORDER BY 1"
    )
    return [row[0] for row in store.db.execute(query, (name,))]


async def create(store: Store, spec: NetworkSpec) -> NetworkRecord:
    """Create the network, or repair the link and rules of an existing one with the same specification. Raises
    Unsupported (driver, option), InvalidSpec, PoolExhausted (no subnet) and Conflict (the name is in use).
    """
    (made,) = await create_all(store, [spec])
    if isinstance(made, EngineError):
        raise made
    return made


async def create_all(store: Store, specs: Sequence[NetworkSpec]) -> list[NetworkRecord | EngineError]:
    """The same for several networks, in few steps; the record or the failure of each."""
    own = [spec for spec in specs if spec.name not in PREDEFINED_NETWORKS]
    journalled = iter(_journal(store, own))
    found = [next(journalled) if spec.name not in PREDEFINED_NETWORKS else _predefined(store, spec) for spec in specs]
    records = [one for one in found if isinstance(one, NetworkRecord)]
    try:
        await _ensure_all(store.roots, records)
        return found
    except EngineError:
        for index, one in enumerate(found):
            if isinstance(one, NetworkRecord):
                try:
                    await _ensure_all(store.roots, [one])
                except EngineError as failure:
                    found[index] = failure
        return found


def _predefined(store: Store, spec: NetworkSpec) -> NetworkRecord | EngineError:
    """The network `bridge`, which a user can create only while it is held; other predefined networks cannot be
    created."""
    if spec == NetworkSpec(name=DEFAULT) and bridge_hold.is_held(store.roots):
        need_default(store)
        if (record := get(store, DEFAULT)) is not None:
            return record
    return Conflict(f"network {spec.name} is predefined and cannot be created")


def need_default(store: Store) -> None:
    """Create the network `bridge`, which exists while containers use it (network_mode: bridge) or it is held."""
    if get(store, DEFAULT) is None:
        (made,) = _journal(store, [NetworkSpec(name=DEFAULT)])
        if isinstance(made, EngineError):
            raise made


def lose(networks: Sequence[str]) -> None:
    """Forget that the networks with these ids are complete, because they are being removed."""
    for identifier in networks:
        _whole.pop(identifier, None)


async def ensure(roots: Roots, record: NetworkRecord) -> int:
    """Create missing parts of the network's link and rules; returns its interface index, 0 for none. Returns at once if
    the network is known to be complete."""
    if lan.is_lan(record):
        links().ensure(record, mark(roots, record))
        return 0
    index = _index(record)
    if index and _whole.get(record.id) == index:
        return index
    await _ensure_all(roots, [record])
    return _whole[record.id]


async def _ensure_all(roots: Roots, records: Sequence[NetworkRecord]) -> None:
    """Create missing parts of links and rules. Each step is one for all networks."""
    for record in records:
        if lan.is_lan(record):
            links().ensure(record, mark(roots, record))
    bridges = [record for record in records if not lan.is_lan(record)]
    found = any(_index(record) for record in bridges)
    present = {link.name: link for link in _links()} if found else {}
    missing = []
    for record in bridges:
        link = present.get(record.bridge)
        if link is None or link.alias != mark(roots, record):
            missing.append(record)
        else:
            _whole[record.id] = link.ifindex
    if not missing:
        return
    indexes = _make_links(missing)
    await backend.add_networks(roots, missing)
    _bring_up(missing, indexes)
    for record in missing:
        if overlay.is_overlay(record):
            await asyncio.to_thread(tunnels().ensure, record, mark(roots, record))
    _mark_all(roots, [record for record in missing if not record.adopted])
    _whole.update(zip((record.id for record in missing), indexes, strict=True))


def restore(record: NetworkRecord) -> None:
    """Bring the bridge of a network up again, with the addresses and routes that it should have."""
    from engine.net import messages

    index = _index(record)
    _set_up(record)
    _bring_up([record], [index])
    routes = [
        messages.subnet_route(pool.subnet, index, pool.gateway)
        for pool in record.pools
        if pool.gateway and options.has_address(record, ipam.subnet_of(pool.subnet).version)
    ]
    _do("route to", [record], routes, accept=(errno.EEXIST,))


async def sweep(store: Store, owners: Callable[[], Collection[str]], ports: Mapping[str, Sequence[Port]]) -> None:
    """Remove bridges and rules of this state root that belong neither to a network nor to one of `owners` (container ids);
    restore flushed rules, including those of `ports` (container id → published ports)."""
    from engine.net import messages

    prefix = f"composer:{digest.tag(store.roots.state)}:"
    with Rtnetlink() as kernel:
        ours = [link for link in kernel.links() if link.alias.startswith(prefix)]
        known = {row[0][:12] for row in store.db.execute("SELECT id FROM networks")}
        for link in ours:
            if link.alias.removeprefix(prefix) not in known:
                kernel.do("remove link", link.name, [messages.delete_link(link.name)], accept=(errno.ENODEV,))
    await backend.sweep(store.roots, lambda: ruled(store), owners, ports)


def links() -> ModuleType:
    """The module, imported late: few commands need it, and its import is slow."""
    from engine.net.lan import links

    return links


def tunnels() -> ModuleType:
    """The module, imported late: few commands need it, and its import is slow."""
    from engine.net.overlay import links

    return links


def mark(roots: Roots, record: NetworkRecord) -> str:
    """The alias of the network's links."""
    return f"composer:{digest.tag(roots.state)}:{record.id[:12]}"


def _index(record: NetworkRecord) -> int:
    """0 if there is no such link."""
    try:
        return socket.if_nametoindex(record.bridge)
    except OSError:
        return 0


def _links() -> list[Link]:
    with Rtnetlink() as kernel:
        return kernel.links()


def _find(name: str) -> Link | None:
    return next((link for link in _links() if link.name == name), None)


def _journal(store: Store, specs: Sequence[NetworkSpec]) -> list[NetworkRecord | EngineError]:
    """Record the networks before any part of them exists in the kernel. Returns each one's record, new or existing, or
    its failure."""
    found: list[NetworkRecord | EngineError | None] = [_known(store, spec) for spec in specs]
    if None not in found:
        return [one for one in found if one is not None]
    with store.transaction() as db:
        subnets, mtu = ipam.Subnets(db), preferences.mtu()
        for index, spec in enumerate(specs):
            if found[index] is None:
                try:
                    # A concurrent command may have recorded the same name.
                    found[index] = _known(store, spec) or _record(db, spec, subnets, mtu)
                except EngineError as failure:
                    found[index] = failure
    return [one for one in found if one is not None]


def _known(store: Store, spec: NetworkSpec) -> NetworkRecord | EngineError | None:
    """The existing network, the error in the specification, or None for a new network."""
    try:
        options.check(spec)
    except EngineError as failure:
        return failure
    record = get(store, spec.name)
    if record is not None and record.spec != spec:
        return Conflict(
            f"network {spec.name} already exists with a different specification", hint="Remove it first, or rename one."
        )
    return record


def _record(db: sqlite3.Connection, spec: NetworkSpec, subnets: ipam.Subnets, mtu: int) -> NetworkRecord:
    """`mtu` is for networks that set none."""
    identifier = os.urandom(32).hex()
    wanted = spec.driver_opts.get(networkoptions.NAME, "")
    bridge = wanted or f"{BRIDGE_PREFIX}{identifier[:11]}"
    present = _find(wanted) if wanted else None
    if present and present.kind != "bridge":
        raise InvalidSpec(f"network {spec.name}: the link {wanted} exists but is not a bridge")
    row = db.execute("SELECT name FROM networks WHERE bridge = ?", (bridge,)).fetchone()
    if row:
        raise Conflict(f"network {spec.name}: the bridge {bridge} belongs to network {row[0]}")
    record = NetworkRecord(
        id=identifier,
        spec=spec,
        bridge=bridge,
        pools=subnets.choose(spec),
        mtu=_mtu(spec, mtu),
        adopted=present is not None,
        created_at=time.time(),
    )
    if spec.driver == OVERLAY:
        underlay, peers = overlay.tunnel_addresses(spec)
        record = replace(record, underlay=underlay, peers=peers)
    text = msgspec.json.encode(record).decode()
    db.execute("INSERT INTO networks VALUES (?, ?, ?, ?)", (spec.name, identifier, bridge, text))
    db.executemany("INSERT INTO subnets VALUES (?, ?)", [(pool.subnet, spec.name) for pool in record.pools])
    return record


def _mtu(spec: NetworkSpec, default: int) -> int:
    """The MTU of a network without an option: bytes, 0 for the kernel's default."""
    if spec.driver in LAN_DRIVERS:
        return 0
    found = int(tunnels().mtu(spec)) if spec.driver == OVERLAY else 0
    return min(filter(None, (found, default)), default=0)


def _make_links(records: Sequence[NetworkRecord]) -> list[int]:
    """Create the bridges with their settings; they come up only after their rules exist. Returns their interface indexes. An
    existing bridge is kept."""
    from engine.net import messages

    made = []
    for record in records:
        hardware = HARDWARE_PREFIX + ":".join(record.id[i : i + 2] for i in range(0, 8, 2))
        made.append(messages.bridge(record.bridge, hardware, options.mtu(record)))
    _do("create", records, made, accept=(errno.EEXIST,))
    for record in records:
        _set_up(record)
    return [socket.if_nametoindex(record.bridge) for record in records]


def _set_up(record: NetworkRecord) -> None:
    v6 = any(":" in pool.subnet for pool in record.pools)
    settings = {"ipv6/conf/{}/disable_ipv6": "0" if v6 else "1"}
    if v6 and not record.adopted:
        # A container must not become the host's router; the addresses are unique, so we need no duplicate detection.
        settings |= {"ipv6/conf/{}/accept_ra": "0", "ipv6/conf/{}/accept_dad": "0"}
    if record.spec.internal and not record.adopted:
        settings["ipv4/conf/{}/forwarding"] = "0"
    for path, value in settings.items():
        forwarding.put(f"/proc/sys/net/{path.format(record.bridge)}", value)


def _bring_up(records: Sequence[NetworkRecord], indexes: Sequence[int]) -> None:
    from engine.net import messages

    given = []
    for record, index in zip(records, indexes, strict=True):
        given.append(messages.link_up(index))
        for pool in record.pools:
            subnet = ipam.subnet_of(pool.subnet)
            if pool.gateway and options.has_address(record, subnet.version):
                broadcast = str(subnet.broadcast_address) if subnet.version == 4 and subnet.prefixlen < 31 else ""
                given.append(messages.address(index, pool.gateway, subnet.prefixlen, broadcast))
    _do("give an address to", records, given, accept=(errno.EEXIST,))


def _mark_all(roots: Roots, records: Sequence[NetworkRecord]) -> None:
    """Mark the networks as complete."""
    from engine.net import messages

    marks = [messages.alias(record.bridge, mark(roots, record)) for record in records]
    _do("mark", records, marks, accept=(errno.ENODEV,))


def _do(operation: str, records: Sequence[NetworkRecord], commands: Sequence[bytes], *, accept: Sequence[int]) -> None:
    """Send rtnetlink messages about bridges."""
    if commands:
        subject = records[0].bridge + (" …" if len(records) > 1 else "")
        with Rtnetlink() as kernel:
            kernel.do(operation, subject, commands, accept=accept)
