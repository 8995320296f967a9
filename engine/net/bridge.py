"""Bridge networks: a row in the database, a bridge link, its rules; made and removed so that a crash leaves nothing odd."""

from __future__ import annotations

import errno
import ipaddress
import os
import secrets
import socket
import sqlite3
import time

import msgspec

from engine.errors import Conflict, OperationFailed, Unsupported
from engine.net import ipam, nat
from engine.net.rtnetlink import Rtnetlink
from engine.spec.network import NetworkRecord, NetworkSpec
from engine.store import Store

PREDEFINED = ("bridge", "host", "none")
_NAME_OPTION = "com.docker.network.bridge.name"
_MTU_OPTIONS = ("com.docker.network.driver.mtu", "mtu")
_KNOWN_OPTIONS = {
    _NAME_OPTION,
    *_MTU_OPTIONS,
    nat.ICC_OPTION,
    nat.MASQUERADE_OPTION,
    nat.HOST_BINDING_OPTION,
    nat.GATEWAY_MODE_OPTION,
}


def get(store: Store, name: str) -> NetworkRecord | None:
    row = store.db.execute("SELECT record FROM networks WHERE name = ? OR id = ?", (name, name)).fetchone()
    return msgspec.json.decode(row[0], type=NetworkRecord) if row else None


def every(store: Store) -> list[NetworkRecord]:
    rows = store.db.execute("SELECT record FROM networks ORDER BY name")
    return [msgspec.json.decode(row[0], type=NetworkRecord) for row in rows]


def in_use_by(store: Store, name: str) -> list[str]:
    """Ids of the containers that hold an address of the network."""
    return [row[0] for row in store.db.execute("SELECT DISTINCT owner FROM addresses WHERE network = ?", (name,))]


async def create(store: Store, spec: NetworkSpec) -> NetworkRecord:
    """Make the network, or repair the link and rules of one with the same specification.

    Raises Unsupported (driver, option), PoolExhausted (no subnet), Conflict (another network has that name).
    """
    _check(spec)
    record = get(store, spec.name)
    if record is None:
        record = _journal(store, spec)
    elif record.spec != spec:
        raise Conflict(f"network {spec.name} exists with another specification")
    await ensure(record)
    return record


async def ensure(record: NetworkRecord) -> int:
    """Make what is missing of the network's link and rules; its interface index."""
    try:
        return socket.if_nametoindex(record.bridge)
    except OSError:
        pass
    _make_link(record)
    await nat.add_network(record)
    return socket.if_nametoindex(record.bridge)


async def remove(store: Store, name: str) -> None:
    """Remove the network's rules, link and row; nothing when there is none. Raises Conflict while containers use it."""
    record = get(store, name)
    if record is None:
        return
    users = in_use_by(store, record.spec.name)
    if users:
        raise Conflict(
            f"network {name} is in use by {len(users)} container{'s' * (len(users) > 1)}: "
            + ", ".join(user[:12] for user in users[:5])
        )
    await nat.remove_network(record)
    _delete_link(record.bridge)
    with store.transaction() as db:
        db.execute("DELETE FROM networks WHERE name = ?", (record.spec.name,))
        last = db.execute("SELECT count(*) FROM networks").fetchone()[0] == 0
    if last:
        await nat.unhook()


def _delete_link(name: str) -> None:
    from engine.net import messages

    with Rtnetlink() as kernel:
        kernel.do("remove link", name, [messages.delete_link(name)], accept=(errno.ENODEV,))


def _check(spec: NetworkSpec) -> None:
    if spec.driver not in ("", "bridge", "default"):
        raise Unsupported(
            f"network {spec.name}: driver {spec.driver!r} is not supported", hint="Supported: bridge (host and none as network_mode)."
        )
    if spec.ipam_driver not in ("", "default"):
        raise Unsupported(f"network {spec.name}: IPAM driver {spec.ipam_driver!r} is not supported")
    unknown = sorted(set(spec.driver_opts) - _KNOWN_OPTIONS)
    if unknown:
        raise Unsupported(f"network {spec.name}: driver option {unknown[0]!r} is not supported by the bridge driver")
    name = spec.driver_opts.get(_NAME_OPTION, "")
    if len(name) > 15:
        raise Unsupported(f"network {spec.name}: the bridge name {name!r} is longer than 15 characters")


def _journal(store: Store, spec: NetworkSpec) -> NetworkRecord:
    """Write the network down before anything of it exists in the kernel."""
    identifier = secrets.token_hex(32)
    bridge = spec.driver_opts.get(_NAME_OPTION) or f"cmp-{identifier[:11]}"
    try:
        with store.transaction() as db:
            record = NetworkRecord(
                id=identifier, spec=spec, bridge=bridge, pools=ipam.choose_pools(db, spec), created_at=time.time()
            )
            db.execute(
                "INSERT INTO networks VALUES (?, ?, ?, ?)",
                (spec.name, identifier, bridge, msgspec.json.encode(record).decode()),
            )
            db.executemany("INSERT INTO subnets VALUES (?, ?)", [(pool.subnet, spec.name) for pool in record.pools])
    except sqlite3.IntegrityError as error:
        raise Conflict(f"network {spec.name} was made by somebody else in this moment") from error
    return record


def mtu(record: NetworkRecord) -> int:
    return next((int(record.spec.driver_opts[o]) for o in _MTU_OPTIONS if o in record.spec.driver_opts), 0)


def _make_link(record: NetworkRecord) -> None:
    from engine.net import messages

    hardware = "02:42:" + ":".join(record.id[i : i + 2] for i in range(0, 8, 2))
    with Rtnetlink() as kernel:
        kernel.do("make bridge", record.bridge, [messages.bridge(record.bridge, hardware, mtu(record))], accept=(errno.EEXIST,))
        index = socket.if_nametoindex(record.bridge)
        addresses = []
        for pool in record.pools:
            subnet = ipaddress.ip_network(pool.subnet)
            broadcast = str(subnet.broadcast_address) if subnet.version == 4 else ""
            addresses.append(messages.address(index, pool.gateway, subnet.prefixlen, broadcast))
        kernel.do("give an address to", record.bridge, addresses, accept=(errno.EEXIST,))
    # Published ports are reached from 127.0.0.1 through DNAT; INPUT rules in nat.py keep the containers out of loopback.
    _set(f"/proc/sys/net/ipv4/conf/{record.bridge}/route_localnet", "1")
    _set(f"/proc/sys/net/ipv6/conf/{record.bridge}/disable_ipv6", "0" if record.spec.enable_ipv6 else "1")
    if not record.spec.internal:
        _set("/proc/sys/net/ipv4/ip_forward", "1")
        if record.spec.enable_ipv6:
            _set("/proc/sys/net/ipv6/conf/all/forwarding", "1")


def _set(path: str, value: str) -> None:
    try:
        with open(path, "r+", encoding="utf-8") as file:
            if file.read().strip() != value:
                file.seek(0)
                file.write(value)
    except FileNotFoundError:
        return  # a kernel without IPv6
    except OSError as error:
        raise OperationFailed.of("set", path, error, hint="Set it with sysctl, or run composer as root.") from error


def alive(record: NetworkRecord) -> bool:
    return os.path.exists(f"/sys/class/net/{record.bridge}")
