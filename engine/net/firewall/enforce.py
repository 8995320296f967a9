"""Keeps our packet filter rules in place while containers run, even if other programs remove them.

guard   a table that this process owns, with every rule that drops. No other process can change or flush it
        (NFT_TABLE_F_OWNER, Linux 5.12), so nothing is open until our rules are restored. It only drops, so legacy
        iptables, too, gets a guard where the kernel has nf_tables
watch   the kernel reports changes of nf_tables (NFNLGRP_NFTABLES), and we repair those that affect us at once. Legacy
        iptables sends no notifications: there we count the rules twice a second
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence

from engine.errors import EngineError
from engine.net.firewall import (
    elements,
    forwarding,
    legacy,
    native,
    netlink,
    probe,
    published_ports,
    ruleset,
    userchain,
)
from engine.net.firewall.elements import Elements
from engine.net.firewall.foreign import FIREWALLD_CHAINS
from engine.net.firewall.netlink import Nfnetlink
from engine.net.firewall.published_ports import Port
from engine.net.fixed_names import FIREWALLD, IPTABLES_CHAIN, IPTABLES_TABLE
from engine.net.netlink_abi import NETFILTER, NFTABLES, attributes
from engine.paths import Roots
from engine.readable import Readable
from engine.spec.network import NetworkRecord

_GROUP = 7  # NFNLGRP_NFTABLES
_ADD_MEMBERSHIP, _SOL_NETLINK, _NO_ENOBUFS = 1, 270, 5
_SETTLED = 0.02
"""Seconds to wait for more changes of the same kind."""
_GLANCE = 0.5


class Enforcement:
    """Runs in the event loop of a supervisor; `repair` restores all rules."""

    def __init__(self, roots: Roots, repair: Callable[[], Awaitable[None]]) -> None:
        self._roots, self._repair = roots, repair
        self._guard: Nfnetlink | None = None
        self._guarded: dict[str, Elements] = {}
        self._closed: tuple[int, ...] = ()
        """The IP versions for which the guard prevents the host from routing for others."""
        self._unguarded = False
        """Whether the kernel lacks such tables (before Linux 5.12)."""
        self._name = ""
        """The guard's table."""
        self._socket: socket.socket | None = None
        self._watching: Readable | None = None
        self._looking: asyncio.Task[None] | None = None
        self._repairing: asyncio.Task[None] | None = None
        self._pending = False

    def start(self) -> None:
        """Start, unless already started."""
        if self._socket is not None or self._looking is not None:
            return
        if not probe.native():
            self._looking = asyncio.ensure_future(self._look())
            return
        watching = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETFILTER)
        watching.bind((0, 0))
        watching.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP)
        watching.setblocking(False)
        self._socket = watching
        self._watching = Readable(watching, self._changed)

    def guard(self, record: NetworkRecord) -> None:
        """Let the guard drop packets that must not enter or leave the network. Does nothing if the kernel lacks such
        tables."""
        if record.id in self._guarded or self._unguarded or not probe.works():
            return
        wanted = {key: found for key, found in elements.of_network(record).items() if key in ruleset.GUARDED}
        versions = forwarding.ours()

        def messages(name: str) -> list[bytes]:
            added = [one for key, of in wanted.items() for one in netlink.add(name, key, of)]
            return added if versions == self._closed else added + ruleset.closed(name, versions)

        self._change(messages)
        self._guarded[record.id], self._closed = wanted, versions

    def forget(self, network: str) -> None:
        """Remove the network with this id from the guard."""
        wanted = self._guarded.pop(network, None)
        if wanted is None or self._guard is None:
            return
        if self._guarded:
            removed = [one for key, of in wanted.items() for one in netlink.remove(self._name, key, of)]
            with contextlib.suppress(OSError):
                self._guard.transact(removed)
        else:
            guard, self._guard, self._closed = self._guard, None, ()
            # In a thread, because the kernel waits until no packet is being checked by its rules.
            threading.Thread(target=guard.close, name="closing a guard").start()

    def allow(self, owner: str, ports: Iterable[Port]) -> None:
        """Accept packets for ports of routed networks, as the table does."""
        self._let((owner, port) for port in ports)

    def disallow(self, ports: Iterable[tuple[str, Port]]) -> None:
        """Undo `allow`, for (container id, port)."""
        self._let(ports, change=netlink.remove)

    def _let(
        self,
        ports: Iterable[tuple[str, Port]],
        change: Callable[[str, str, Sequence[netlink.Element]], list[bytes]] = netlink.add,
    ) -> None:
        found = elements.merged(published_ports.element(port, owner) for owner, port in ports if port.direct)
        if found and self._guard is not None:
            self._guard.transact([one for key, of in found.items() for one in change(self._name, key, of)])

    def close(self) -> None:
        if self._watching is not None:
            self._watching.close()
            self._socket = self._watching = None
        self._drop_guard()
        for task in (self._looking, self._repairing):
            if task is not None:
                task.cancel()

    def _drop_guard(self) -> None:
        if self._guard is not None:
            self._guard.close()  # and the table goes
            self._guard, self._closed = None, ()

    def _change(self, messages: Callable[[str], list[bytes]]) -> None:
        """Run one transaction in the guard; create the guard first if needed."""
        made: list[bytes] = []
        if self._guard is None:
            self._guard = Nfnetlink()
            kind = probe.GUARD if probe.native() else probe.BESIDE
            self._name = f"{native.table(self._roots)}{kind}{os.urandom(4).hex()}"
            made = ruleset.guard(self._name, netlink.OWNER)
        accepted = (errno.EOPNOTSUPP, errno.EINVAL) if made else ()
        if self._guard.do("make table", self._name, [*made, *messages(self._name)], accept=accepted):
            self._guard.close()
            self._guard, self._unguarded = None, True

    def _changed(self) -> None:
        """Read notifications of changes, and decide whether they may affect us."""
        concerned = False
        while self._socket is not None:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError:
                concerned = True  # ENOBUFS: notifications were lost
                continue
            concerned = concerned or _concerns(data, native.table(self._roots))
        if concerned:
            self._schedule_repair()

    def _schedule_repair(self) -> None:
        self._pending = True
        if self._repairing is None or self._repairing.done():
            self._repairing = asyncio.ensure_future(self._repair_repeatedly())

    async def _repair_repeatedly(self) -> None:
        while self._pending:
            self._pending = False
            try:
                await self._repair()
            except (EngineError, OSError) as error:
                print(f"cannot restore packet filter rules: {error}", file=sys.stderr, flush=True)
            await asyncio.sleep(_SETTLED)

    async def _look(self) -> None:
        """Poll legacy iptables, for which the kernel has no notifications, until nf_tables is used instead."""
        last = legacy.sizes()
        while not probe.native():
            await asyncio.sleep(_GLANCE)
            now = legacy.sizes()
            if now != last:
                with contextlib.suppress(EngineError):
                    await self._repair()
                now = legacy.sizes()
            last = now
        self._looking = None
        self.start()
        self._schedule_repair()


def _concerns(data: bytes, table: str) -> bool:
    """Whether another program removed rules of ours, changed a chain FORWARD, or created a COMPOSER-USER, or firewalld
    has reloaded. We ourselves remove only elements."""
    offset = 0
    while offset + 20 <= len(data):
        length, kind = struct.unpack_from("=IH", data, offset)
        if kind >> 8 == NFTABLES:
            kind &= 0xFF
            fields = attributes(data[offset + 20 : offset + length])
            name = netlink.name_of(fields.get(1, b""))
            if name == FIREWALLD and _is_restart(kind, fields):
                return True
            if name == table and kind in (netlink.DELTABLE, netlink.DELCHAIN, netlink.DELRULE):
                return True
            if kind in (netlink.NEWCHAIN, netlink.DELRULE, netlink.NEWRULE):
                chain = netlink.name_of(fields.get(3 if kind == netlink.NEWCHAIN else 2, b""))
                if (name, chain) == (IPTABLES_TABLE, IPTABLES_CHAIN) or (
                    kind == netlink.NEWCHAIN and chain == userchain.NAME
                ):
                    return True
        offset += max(16, (length + 3) & ~3)
    return False


def _is_restart(kind: int, fields: dict[int, bytes]) -> bool:
    """Whether firewalld creates its table, or creates or flushes one of its rejecting chains."""
    chain = netlink.name_of(fields.get(3 if kind == netlink.NEWCHAIN else 2, b""))
    changed = kind in (netlink.NEWCHAIN, netlink.DELRULE) and chain in FIREWALLD_CHAINS
    return kind == netlink.NEWTABLE or changed
