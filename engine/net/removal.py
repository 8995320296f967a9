"""Removes networks: rules (with the last network, all of ours), then the link, then the row. After a crash,
`bridge.sweep` removes the rest.

Concurrent removals form a batch. For each link and each transaction of the packet filter the kernel waits
until no packet uses it any more, which takes tens of milliseconds; for a group of links it waits once.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Sequence

from msgspec import Struct

from engine.errors import Conflict
from engine.net import bridge, bridge_hold
from engine.net.firewall import backend
from engine.net.lan import settings as lan
from engine.net.overlay import settings as overlay
from engine.net.rtnetlink import Rtnetlink
from engine.spec.network import NetworkRecord
from engine.store import Store


class _Removal(Struct, frozen=True):
    record: NetworkRecord
    done: asyncio.Future[None]


class Removals:
    """The network removals of one event loop. A request that arrives during a batch joins the next one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[_Removal] = []
        self._working = asyncio.Lock()

    async def remove(self, name: str) -> None:
        """Remove the network's rules, link and row; nothing if it does not exist. Raises Conflict while containers use
        it."""
        record = _unused(self._store, name)
        if record is None:
            return
        if lan.is_lan(record):
            _forget(self._store, [record])
            return
        mine = _Removal(record, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        async with self._working:
            removals, self._waiting = self._waiting, []
            try:
                await _together(self._store, removals)
            finally:
                for one in removals:
                    if not one.done.done():
                        one.done.cancel()  # we were cancelled
        await mine.done


async def remove(store: Store, name: str) -> None:
    """Remove one network; see `Removals.remove`."""
    await Removals(store).remove(name)


async def leave_default(store: Store) -> None:
    """Remove the network `bridge` when its last container has left, unless it is held."""
    record = bridge.get(store, bridge.DEFAULT)
    if record is None or bridge.in_use_by(store, bridge.DEFAULT) or bridge_hold.is_held(store.roots):
        return
    with store.transaction(freeing=True) as db:
        removed = "DELETE FROM networks WHERE id = ? AND NOT EXISTS (SELECT 1 FROM addresses WHERE network = ?)"
        if not db.execute(removed, (record.id, bridge.DEFAULT)).rowcount:
            return
    await _remove(store, [record])


def _unused(store: Store, name: str) -> NetworkRecord | None:
    record = bridge.get(store, name)
    if record is not None and (users := bridge.in_use_by(store, record.spec.name)):
        named = ", ".join(users[:5]) + (" …" if len(users) > 5 else "")
        count = f"{len(users)} container{'s' * (len(users) > 1)}"
        raise Conflict(f"network {record.spec.name} is in use by {count}: {named}")
    return record


async def _together(store: Store, removals: Sequence[_Removal]) -> None:
    """Remove all in one step. If that fails, remove them one by one, so that only those that cannot be removed fail."""
    if not removals:
        return
    try:
        await _remove(store, [one.record for one in removals])
    except Exception as error:
        if len(removals) == 1:
            removals[0].done.set_exception(error)
            return
        for one in removals:
            await _together(store, [one])
    else:
        for one in removals:
            one.done.set_result(None)


async def _remove(store: Store, records: Sequence[NetworkRecord]) -> None:
    bridge.lose([record.id for record in records])
    await backend.remove_networks(store.roots, records, lambda: _forget(store, records), lambda: bridge.ruled(store))


def _forget(store: Store, records: Sequence[NetworkRecord]) -> None:
    """Remove links and rows."""
    removed = {record.id for record in records}
    left = [one for one in bridge.every(store) if one.id not in removed]
    for record in records:
        mark = bridge.mark(store.roots, record)
        if lan.is_lan(record):
            bridge.links().remove(record, mark, left)
        elif overlay.is_overlay(record):
            bridge.tunnels().remove(record, mark, left)
    _remove_bridges([record for record in records if not lan.is_lan(record)])
    with store.transaction(freeing=True) as db:
        db.executemany("DELETE FROM networks WHERE id = ?", [(identifier,) for identifier in removed])


def _remove_bridges(records: Sequence[NetworkRecord]) -> None:
    from engine.net import messages

    ours = [record.bridge for record in records if not record.adopted]
    with Rtnetlink() as kernel:
        if len(ours) == 1:
            kernel.do("remove link", ours[0], [messages.delete_link(ours[0])], accept=(errno.ENODEV,))
        elif ours:
            kernel.do("remove links", f"{ours[0]} …", messages.delete_together(ours), accept=(errno.ENODEV,))
        for record in records:
            if record.adopted:
                _take_addresses(kernel, record)


def _take_addresses(kernel: Rtnetlink, record: NetworkRecord) -> None:
    """Remove our addresses from the user's own bridge."""
    from engine.net import messages

    try:
        index = socket.if_nametoindex(record.bridge)
    except OSError:
        return
    removed = [
        messages.delete_address(index, pool.gateway, ipaddress.ip_network(pool.subnet).prefixlen)
        for pool in record.pools
    ]
    kernel.do("remove our address from", record.bridge, removed, accept=(errno.EADDRNOTAVAIL, errno.ENODEV))
