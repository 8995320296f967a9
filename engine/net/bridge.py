"""Bridge networks: a row in the database, a bridge link, and rules; repaired after a crash at any point.

create: row ─▶ link, not up ─▶ rules ─▶ up, addresses ─▶ ifalias "composer:<state root>:<id>", the mark of a whole network
remove: removal.py
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import ModuleType

import msgspec
from msgspec.structs import replace

from engine import digest
from engine.errors import Conflict, InvalidSpec
from engine.net import ipam, options, preferences
from engine.net.firewall import backend, forwarding
from engine.net.firewall.elements import Port
from engine.net.lan import settings as lan
from engine.net.overlay import settings as overlay
from engine.net.rtnetlink import Link, Rtnetlink
from engine.paths import Roots
from engine.spec.network import LAN_DRIVERS, OVERLAY, NetworkRecord, NetworkSpec, decode_network
from engine.store import Store

PREDEFINED = ("bridge", "host", "none")
"""Docker's predefined networks; a container selects them by its network mode."""

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
    options.check(spec)
    if spec.name in PREDEFINED:
        raise Conflict(f"network {spec.name} is predefined and cannot be created")
    record = get(store, spec.name)
    if record is None:
        record = _journal(store, spec)
    elif record.spec != spec:
        raise Conflict(
            f"network {spec.name} already exists with a different specification", hint="Remove it first, or rename one."
        )
    await ensure(store.roots, record)
    return record


def need_default(store: Store) -> None:
    """Create the network `bridge`, which exists while containers use it (network_mode: bridge)."""
    if get(store, DEFAULT) is None:
        with contextlib.suppress(Conflict):  # created concurrently
            _journal(store, NetworkSpec(name=DEFAULT))


def lose(networks: Sequence[str]) -> None:
    """The networks with these ids are being removed: they are no longer whole."""
    for identifier in networks:
        _whole.pop(identifier, None)


async def ensure(roots: Roots, record: NetworkRecord) -> int:
    """Create missing parts of the network's link and rules; returns its interface index, 0 for none. Returns at once if
    the network is known to be complete."""
    if lan.is_lan(record):
        links().ensure(record, mark(roots, record))
        return 0
    try:
        index = socket.if_nametoindex(record.bridge)
    except OSError:
        index = 0
    if index and _whole.get(record.id) == index:
        return index
    link = _find(record.bridge) if index else None
    if link is None or link.alias != mark(roots, record):
        index = _make_link(record)
        await backend.add_network(roots, record)
        _bring_up(record, index)
        if overlay.is_overlay(record):
            await asyncio.to_thread(tunnels().ensure, record, mark(roots, record))
        if not record.adopted:
            _do("mark", record, "alias", record.bridge, mark(roots, record))
    _whole[record.id] = index
    return index


async def sweep(store: Store, owners: Callable[[], Collection[str]], ports: Mapping[str, Sequence[Port]]) -> None:
    """Remove bridges and rules of this state root that belong neither to a network nor to one of `owners` (container ids);
    restore flushed rules, including those of `ports` (container id → published ports)."""
    prefix = f"composer:{digest.tag(store.roots.state)}:"
    with Rtnetlink() as kernel:
        ours = [link for link in kernel.links() if link.alias.startswith(prefix)]
    known = {row[0][:12] for row in store.db.execute("SELECT id FROM networks")}
    for link in ours:
        if link.alias.removeprefix(prefix) not in known:
            _do("remove link", None, "delete_link", link.name)
    await backend.sweep(store.roots, lambda: ruled(store), owners, ports)


def links() -> ModuleType:
    """What few need, and takes long to import."""
    from engine.net.lan import links

    return links


def tunnels() -> ModuleType:
    """What few need, and takes long to import."""
    from engine.net.overlay import links

    return links


def mark(roots: Roots, record: NetworkRecord) -> str:
    """The alias of the network's links."""
    return f"composer:{digest.tag(roots.state)}:{record.id[:12]}"


def _find(name: str) -> Link | None:
    with Rtnetlink() as kernel:
        return next((link for link in kernel.links() if link.name == name), None)


def _do(operation: str, record: NetworkRecord | None, message: str, *arguments: object) -> None:
    """Send one rtnetlink message; ignore that a link no longer exists."""
    from engine.net import messages

    subject = record.bridge if record else str(arguments[0])
    with Rtnetlink() as kernel:
        kernel.do(operation, subject, [getattr(messages, message)(*arguments)], accept=(errno.ENODEV,))


def _journal(store: Store, spec: NetworkSpec) -> NetworkRecord:
    """Record the network before any part of it exists in the kernel."""
    identifier = os.urandom(32).hex()
    wanted = spec.driver_opts.get(options.NAME, "")
    bridge = wanted or f"cmp-{identifier[:11]}"
    present = _find(wanted) if wanted else None
    if present and present.kind != "bridge":
        raise InvalidSpec(f"network {spec.name}: the link {wanted} exists but is not a bridge")
    try:
        with store.transaction() as db:
            row = db.execute("SELECT name FROM networks WHERE bridge = ?", (bridge,)).fetchone()
            if row:
                raise Conflict(f"network {spec.name}: the bridge {bridge} belongs to network {row[0]}")
            record = NetworkRecord(
                id=identifier,
                spec=spec,
                bridge=bridge,
                pools=ipam.choose_pools(db, spec),
                mtu=_mtu(spec),
                adopted=present is not None,
                created_at=time.time(),
            )
            if spec.driver == OVERLAY:
                underlay, peers = overlay.ends(spec)
                record = replace(record, underlay=underlay, peers=peers)
            text = msgspec.json.encode(record).decode()
            db.execute("INSERT INTO networks VALUES (?, ?, ?, ?)", (spec.name, identifier, bridge, text))
            db.executemany("INSERT INTO subnets VALUES (?, ?)", [(pool.subnet, spec.name) for pool in record.pools])
    except sqlite3.IntegrityError as error:
        raise Conflict(f"network {spec.name} was created concurrently") from error
    return record


def _mtu(spec: NetworkSpec) -> int:
    """The MTU of a network without an option: bytes, 0 for the kernel's default."""
    if spec.driver in LAN_DRIVERS:
        return 0
    found = int(tunnels().mtu(spec)) if spec.driver == OVERLAY else 0
    return min(filter(None, (found, preferences.mtu())), default=0)


def _make_link(record: NetworkRecord) -> int:
    """Create the bridge with its settings; it comes up only after its rules exist. Returns its interface index. An
    existing bridge is kept."""
    from engine.net import messages

    hardware = "02:42:" + ":".join(record.id[i : i + 2] for i in range(0, 8, 2))
    with Rtnetlink() as kernel:
        made = messages.bridge(record.bridge, hardware, options.mtu(record))
        kernel.do("make bridge", record.bridge, [made], accept=(errno.EEXIST,))
    v6 = any(":" in pool.subnet for pool in record.pools)
    settings = {"ipv6/conf/{}/disable_ipv6": "0" if v6 else "1"}
    if v6 and not record.adopted:
        # A container must not become the host's router; the addresses are unique, so we need no duplicate detection.
        settings |= {"ipv6/conf/{}/accept_ra": "0", "ipv6/conf/{}/accept_dad": "0"}
    if record.spec.internal and not record.adopted:
        settings["ipv4/conf/{}/forwarding"] = "0"
    for path, value in settings.items():
        forwarding.put(f"/proc/sys/net/{path.format(record.bridge)}", value)
    return socket.if_nametoindex(record.bridge)


def _bring_up(record: NetworkRecord, index: int) -> None:
    from engine.net import messages

    addresses = []
    for pool in record.pools:
        subnet = ipaddress.ip_network(pool.subnet)
        if pool.gateway and options.has_address(record, subnet.version):
            broadcast = str(subnet.broadcast_address) if subnet.version == 4 and subnet.prefixlen < 31 else ""
            addresses.append(messages.address(index, pool.gateway, subnet.prefixlen, broadcast))
    with Rtnetlink() as kernel:
        given = [messages.link_up(index), *addresses]
        kernel.do("give an address to", record.bridge, given, accept=(errno.EEXIST,))
