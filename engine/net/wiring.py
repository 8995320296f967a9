"""Connects containers to their networks. Concurrent requests are batched: one netlink send, one packet filter
transaction."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

import engine.rootless.client as rootless
from engine.errors import EngineError, NotFound
from engine.net import bridge, endpoint, ipam, options, ports, preferences, removal, veth
from engine.net.endpoint import Plan
from engine.net.firewall import backend, native, probe, published_ports
from engine.net.firewall.enforce import Enforcement
from engine.net.firewall.published_ports import Port
from engine.net.lan import settings as lan
from engine.net.overlay import settings as overlay
from engine.net.relay import returning
from engine.net.relay.relay import Relay, Target
from engine.spec.container import Attachment, PortBinding
from engine.spec.network import NetworkRecord
from engine.spec.state import Endpoint
from engine.store import Store

if TYPE_CHECKING:
    from engine.net.lan.client import Client
    from engine.net.overlay.discovery import Discovery

_FORGET_DELAY = 0.5
"""Seconds to wait for more containers to stop; a container that reuses a released address does not wait."""

_ATTEMPTS, _PAUSE = 10, 0.05
"""How often, and at what interval in seconds, we try to bind the last supervisor's ports again."""


class _Job(Struct, frozen=True):
    container_id: str
    pid: int
    plans: list[Plan]
    rules: list[Port]
    done: asyncio.Future[None]


class Wiring:
    """The connections of one group's containers, in the supervisor. `enforced`: flushed rules are restored while it exists.
    `discovery` covers the overlay networks of the containers."""

    def __init__(self, store: Store, *, enforced: bool = False, discovery: Discovery | None = None) -> None:
        self.store = store
        self._discovery = discovery
        self._enforcement = Enforcement(store.roots, self.repair) if enforced else None
        self._jobs: list[_Job] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._reservations: dict[str, ports.Reservation] = {}
        self._relay = Relay(store.roots.state)
        self._rules: dict[str, list[Port]] = {}
        self._leased: set[str] = set()
        self._clients: dict[tuple[str, str], Client] = {}
        """(container id, network) → DHCP client."""
        self.moved: Callable[[str, str], Awaitable[None]] | None = None
        """Awaited with a container's id and a network when its address there must change."""
        self._shown: dict[str, list[Endpoint]] = {}
        """Container id → endpoints on LANs that the host reaches through its own link."""
        self._left: set[str] = set()
        """Addresses of containers that have just stopped."""
        self._gone: set[str] = set()
        """The containers that had them, unless they have been started again."""
        self._forgetting: asyncio.TimerHandle | None = None
        self._withdrawn: list[tuple[str, Port]] = []
        self._withdrawing = asyncio.Lock()

    async def obtain(self, container_id: str, attachments: Sequence[Attachment]) -> None:
        """Obtain leases from a LAN's DHCP server, for networks that use one, before `lease`. Raises OperationFailed,
        InvalidSpec."""
        for attachment in attachments:
            record = bridge.get(self.store, attachment.network)
            if record is None or record.spec.ipam_driver != lan.DHCP:
                continue
            await self._ensure(record)
            client = self._client(container_id, record, attachment)
            if client.lease is None:
                try:
                    await client.obtain()
                except BaseException:
                    self._let_go(container_id, record.spec.name)
                    raise
                client.keep()

    def _client(self, container_id: str, record: NetworkRecord, attachment: Attachment) -> Client:
        """The container's DHCP client on the network."""
        from engine.net.lan import client

        network, key = record.spec.name, (container_id, record.spec.name)
        if key not in self._clients:
            row = self.store.db.execute("SELECT name FROM containers WHERE id = ?", (container_id,)).fetchone()
            name = row[0] if row else container_id[:12]
            mac = attachment.mac_address.lower().replace("-", ":") or client.hardware(name, network)
            made = client.Client(lan.parent(record.spec), mac, name, attachment.ipv4_address)
            if self.moved is not None:
                made.moved = functools.partial(self.moved, container_id, network)
            self._clients[key] = made
        return self._clients[key]

    def _renew(self, container_id: str, record: NetworkRecord, end: Endpoint) -> None:
        """Continue the lease of an earlier supervisor."""
        attachment = Attachment(network=end.network, mac_address=end.mac_address)
        client = self._client(container_id, record, attachment)
        client.address = end.ipv4_address
        client.keep()

    def _let_go(self, container_id: str, network: str = "") -> None:
        """Release leases of DHCP servers: those on one network, or all."""
        for key in [one for one in self._clients if one[0] == container_id and network in ("", one[1])]:
            self._clients.pop(key).release()

    def lease(self, container_id: str, attachments: Sequence[Attachment]) -> list[Plan]:
        """Lease an address for each attachment (all or none) and choose interface names, by priority, then name, as in
        Docker. Raises NotFound, InvalidSpec, Unsupported, Conflict, PoolExhausted."""
        ordered = sorted(attachments, key=lambda attachment: (-attachment.priority, attachment.network))
        if any(attachment.network == bridge.DEFAULT for attachment in attachments):
            bridge.need_default(self.store)
        requested = [name for name in map(options.requested_interface, ordered) if name]
        plans: list[Plan] = []
        with self.store.transaction() as db:
            for index, attachment in enumerate(ordered):
                own = options.requested_interface(attachment)
                names = {one.endpoint.interface for one in plans} | {n for n in requested if n != own}
                plans.append(self._plan(db, container_id, index, attachment, names))
        self._leased.add(container_id)
        return plans

    def reserve(
        self, container_id: str, wanted: Sequence[PortBinding], plans: Sequence[Plan] = ()
    ) -> list[PortBinding]:
        """Bind the published ports; the default host address comes from the network's driver options. Nothing is
        published for a container with only internal networks, or whose default route is a LAN of the host. Raises
        PortInUse."""
        record = next((plan.record for plan in endpoint.outward(plans)), None)
        if plans and (record is None or lan.is_lan(record)):
            return []
        return self._hold(container_id, ports.placed(wanted, record)).bindings

    def _hold(self, container_id: str, wanted: Sequence[PortBinding]) -> ports.Reservation:
        """Bind ports in place of those that we hold for an earlier run of the container."""
        self._relay.stop(container_id)
        if earlier := self._reservations.pop(container_id, None):
            earlier.close()
        reservation = self._reservations[container_id] = ports.reserve(
            self.store, container_id, wanted, by_rules=_by_rules()
        )
        return reservation

    async def connect(self, container_id: str, pid: int, plans: Sequence[Plan]) -> None:
        """Create the links of `plans` in the network namespace of `pid`, and the rules of the reserved ports."""
        if not plans:
            return
        for plan in plans:
            await self._ensure(plan.record)
        self._publish(container_id, [plan.endpoint for plan in endpoint.outward(plans)])
        rules = self._rules.get(container_id, [])
        await self._together(container_id, pid, plans, rules, published=bool(rules))
        self._show(container_id, [plan.endpoint for plan in plans])

    async def disconnect(self, container_id: str) -> None:
        """Remove rules, then ports and leases. The links disappear with the network namespace, or when we forget the
        addresses."""
        if rules := self._rules.pop(container_id, []):
            await self._withdraw(container_id, rules)
        self._hide(self._shown.pop(container_id, ()))
        self._let_go(container_id)
        rows = self.store.db.execute("SELECT address FROM addresses WHERE owner = ?", (container_id,)).fetchall()
        self._schedule_forget({row[0] for row in rows}, {container_id})
        self.release(container_id)
        await removal.leave_default(self.store)

    async def _withdraw(self, container_id: str, rules: Sequence[Port]) -> None:
        """Remove rules, batched with those of containers that stop meanwhile."""
        self._withdrawn += [(container_id, port) for port in rules]
        async with self._withdrawing:
            removed, self._withdrawn = self._withdrawn, []
            if removed:
                await backend.withdraw(self.store.roots, removed)
                if self._enforcement is not None:
                    self._enforcement.disallow(removed)

    def _schedule_forget(self, addresses: set[str], gone: set[str]) -> None:
        """Forget connections, and remove links that are left of the containers `gone`, batched with those of containers
        that stop soon after, because the kernel searches all connections."""
        if addresses and not self._left:
            self._forgetting = asyncio.get_running_loop().call_later(_FORGET_DELAY, self._forget)
        self._left |= addresses
        self._gone |= gone

    def _forget(self) -> None:
        (left, self._left), (gone, self._gone) = (self._left, set()), (self._gone, set())
        if left:
            if self._forgetting is not None:
                self._forgetting.cancel()
            from engine.net import conntrack  # late: nothing is forgotten at the first start

            if gone:
                veth.discard(gone)
            conntrack.forget(left)

    def release(self, container_id: str) -> None:
        """Release ports and addresses."""
        self._leased.discard(container_id)
        self._let_go(container_id)
        self._relay.stop(container_id)
        if reservation := self._reservations.pop(container_id, None):
            reservation.close()
        has = "SELECT 1 FROM ports WHERE owner = ? UNION SELECT 1 FROM addresses WHERE owner = ?"
        if self.store.db.execute(has, (container_id, container_id)).fetchone():  # a query is much cheaper than a write
            with self.store.transaction(freeing=True) as db:
                db.execute("DELETE FROM ports WHERE owner = ?", (container_id,))
                db.execute("DELETE FROM addresses WHERE owner = ?", (container_id,))

    async def attach(
        self, container_id: str, pid: int, attachment: Attachment, endpoints: Collection[Endpoint]
    ) -> Endpoint:
        """Connect a running container, which has `endpoints`, to another network (docker network connect)."""
        taken = {one.host_interface for one in endpoints}
        await self.obtain(container_id, [attachment])
        index = next(i for i in range(256) if endpoint.host_interface(container_id, i) not in taken)
        with self.store.transaction() as db:
            plan = self._plan(db, container_id, index, attachment, {one.interface for one in endpoints})
        self._leased.add(container_id)
        try:
            await self._ensure(plan.record)
            await self._together(container_id, pid, [plan], [], routed=False)
        except BaseException:
            ipam.release(self.store, container_id, plan.record.spec.name)
            self._let_go(container_id, plan.record.spec.name)
            raise
        self._show(container_id, [plan.endpoint])
        return plan.endpoint

    async def detach(
        self, container_id: str, pid: int, network: str, endpoints: Collection[Endpoint]
    ) -> list[Endpoint]:
        """Disconnect a running container from a network (docker network disconnect). Returns its remaining endpoints.
        `set_default_route` then updates its default route and published ports."""
        removed = [one for one in endpoints if one.network == network]
        left = [one for one in endpoints if one.network != network]
        veth.unplug(pid, removed)
        self._hide(removed)
        ipam.release(self.store, container_id, network)
        self._let_go(container_id, network)
        self._schedule_forget({one for end in removed for one in _addresses(end)}, set())
        if network == bridge.DEFAULT:
            await removal.leave_default(self.store)
        return left

    async def set_default_route(
        self,
        container_id: str,
        pid: int,
        endpoints: Sequence[Endpoint],
        bound: Sequence[PortBinding],
        wanted: Sequence[PortBinding],
    ) -> Sequence[PortBinding]:
        """After `attach` and `detach`: set the default route through the first of `endpoints` (in the order of
        endpoint.ordered) that leads outside, and direct the published ports to its addresses. Returns the bound ports.
        `bound` are already bound, and released if no network leads outside any more; `wanted` are to be bound when one
        does. Raises PortInUse."""
        veth.route(pid, endpoints)
        first = next((one for one in endpoints if one.ipv4_gateway or one.ipv6_gateway), None)
        if wanted and first is not None and container_id not in self._reservations:
            self._hold(container_id, ports.placed(wanted, bridge.get(self.store, first.network)))
        if rules := self._rules.pop(container_id, []):
            await self._withdraw(container_id, rules)
        self._relay.stop(container_id)
        if not self._leads_outside(endpoints):
            self._release_ports(container_id)
            return ()
        self._publish(container_id, endpoints, bound)
        if rules := self._rules.get(container_id, []):
            await backend.publish(self.store.roots, [(container_id, rule) for rule in rules])
        reservation = self._reservations.get(container_id)
        return reservation.bindings if reservation else bound

    def _leads_outside(self, endpoints: Sequence[Endpoint]) -> bool:
        records = [bridge.get(self.store, one.network) for one in endpoints]
        return any(record is not None and not endpoint.is_closed(record) for record in records)

    def _release_ports(self, container_id: str) -> None:
        if reservation := self._reservations.pop(container_id, None):
            reservation.close()
            with self.store.transaction(freeing=True) as db:
                db.execute("DELETE FROM ports WHERE owner = ?", (container_id,))

    async def resume(self, container_id: str, bindings: Sequence[PortBinding], endpoints: Sequence[Endpoint]) -> None:
        """After a supervisor's death: hold a running container's ports again. Its links and rules are still there."""
        resolved = [one if one.host_port else replace(one, host_port=ports.DIRECT) for one in bindings]
        for attempt in range(_ATTEMPTS):
            try:
                self._hold(container_id, resolved)
                break
            except EngineError:
                # The last supervisor's relay may still be ending. If another process took the port, the packet rules still
                # serve it.
                if attempt + 1 < _ATTEMPTS:
                    await asyncio.sleep(_PAUSE)
        for one in endpoints:
            if record := bridge.get(self.store, one.network):
                await self._ensure(record)
                if record.spec.ipam_driver == lan.DHCP:
                    self._renew(container_id, record, one)
        self._show(container_id, endpoints)
        self._publish(container_id, endpoints, bindings)
        if inlets := [(container_id, rule) for rule in self._rules.get(container_id, []) if rule.inlet]:
            await backend.publish(self.store.roots, inlets)  # the last supervisor's have gone with it

    def forget(self, network: str) -> None:
        """The network with this id is removed."""
        if self._enforcement is not None:
            self._enforcement.forget(network)

    async def repair(self) -> None:
        """Restore rules that another program flushed."""

        def known() -> set[str]:
            return {row[0] for row in self.store.db.execute("SELECT id FROM containers")} | self._leased

        await backend.sweep(self.store.roots, lambda: bridge.ruled(self.store), known, dict(self._rules))

    async def check(self) -> None:
        """Restore rules and settings that another program changed."""
        if not backend.is_whole(self.store.roots, bridge.ruled(self.store)):
            await self.repair()

    def _show(self, container_id: str, endpoints: Sequence[Endpoint]) -> None:
        """Let the host reach endpoints on a LAN, if the network requires it."""
        for end in endpoints:
            record = None if end.host_interface else bridge.get(self.store, end.network)
            if record is not None and record.spec.host_access:
                bridge.links().show(record, _addresses(end))
                self._shown.setdefault(container_id, []).append(end)

    def _hide(self, endpoints: Sequence[Endpoint]) -> None:
        for end in endpoints:
            record = None if end.host_interface else bridge.get(self.store, end.network)
            if record is not None and record.spec.host_access:
                bridge.links().hide(record, _addresses(end))

    async def _ensure(self, record: NetworkRecord) -> None:
        """Make the network complete, and keep it so."""
        await bridge.ensure(self.store.roots, record)
        if lan.is_lan(record):
            return
        if self._enforcement is not None:
            self._enforcement.start()
            self._enforcement.guard(record)
        if self._discovery is not None and overlay.is_overlay(record):
            self._discovery.join(record)

    def close(self) -> None:
        self._forget()
        for client in self._clients.values():
            client.close()
        if self._discovery is not None:
            self._discovery.close()
        if self._enforcement is not None:
            self._enforcement.close()
        self._relay.close()
        for reservation in self._reservations.values():
            reservation.close()

    async def sweep(self, alive: set[str], dead: Collection[str] = ()) -> None:
        """Remove links, rules, leases and ports that belong to no container, or to one of `dead`, the containers that
        are not running. `alive` are the running ones of this group; other groups are not touched."""

        def known() -> set[str]:
            rows = self.store.db.execute("SELECT id FROM containers").fetchall()
            return {row[0] for row in rows} - set(dead) | alive | self._leased

        with self.store.transaction(freeing=True) as db:
            owners = known()
            rows = db.execute("SELECT owner, address FROM addresses").fetchall()
            left = [(owner, address) for owner, address in rows if owner not in owners]
            self._schedule_forget({address for _, address in left}, {owner for owner, _ in left})
            for table in ("addresses", "ports"):
                for (owner,) in db.execute(f"SELECT DISTINCT owner FROM {table}").fetchall():
                    if owner not in owners:
                        db.execute(f"DELETE FROM {table} WHERE owner = ?", (owner,))
        await bridge.sweep(self.store, known, dict(self._rules))

    def _plan(
        self, db: sqlite3.Connection, container_id: str, index: int, attachment: Attachment, names: Collection[str]
    ) -> Plan:
        record = bridge.get(self.store, attachment.network)
        if record is None:
            raise NotFound("network", attachment.network)
        client = self._clients.get((container_id, record.spec.name))
        if client is not None and client.lease is not None:
            attachment = replace(attachment, mac_address=client.mac)
            return endpoint.plan(db, record, attachment, container_id, index, names, given=client.lease)
        return endpoint.plan(db, record, attachment, container_id, index, names)

    def _publish(self, container_id: str, endpoints: Sequence[Endpoint], bindings: Sequence[PortBinding] = ()) -> None:
        """Have the reserved ports relayed and note the rules that they need. The ports lead to the addresses
        that answers leave from."""
        v4, v6 = endpoint.routed(endpoints)
        reservation = self._reservations.get(container_id)
        found = reservation.bindings if reservation else bindings
        if not found or not (v4 or v6):
            return
        rules = published_ports.of_bindings(v4, v6, found)
        if preferences.read().ports_opened_by == "firewall":
            rules = [rule for rule in rules if rule.direct]  # the relay serves the others
        relayed: list[Port] = []
        if reservation is not None and reservation.by_rules and not _by_rules():
            reservation = self._hold(container_id, found)  # our table has been created without tproxy
        if reservation is not None and reservation.by_rules:
            for port in published_ports.for_relay(v4, v6, found):
                relayed.append(replace(port, inlet=self._relay.inlet(port.version, port.protocol)))
            gateway = next((one.ipv4_gateway for one in endpoints if one.ipv4_address == v4), "")
            if v4 and gateway != "0.0.0.0":
                rules += published_ports.from_loopback(gateway, found)
        else:
            rules = [rule for rule in rules if not published_ports.is_loopback(rule.host_ip)]
        self._rules[container_id] = rules + relayed
        if self._enforcement is not None:
            self._enforcement.allow(container_id, rules)
        if reservation:
            self._relay.serve(container_id, reservation.sockets, _target(v4, v6, endpoints), relayed)

    async def _together(
        self,
        container_id: str,
        pid: int,
        plans: Sequence[Plan],
        rules: list[Port],
        *,
        routed: bool = True,
        published: bool = True,
    ) -> None:
        """Join the current batch, and wait for the result."""
        loop = asyncio.get_running_loop()
        plans = [replace(plan, routed=routed, published=published) for plan in plans]
        job = _Job(container_id, pid, plans, rules, loop.create_future())
        self._jobs.append(job)
        if len(self._jobs) == 1:
            task = asyncio.ensure_future(self._connect_all())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
        await job.done

    async def _connect_all(self) -> None:
        jobs, self._jobs = self._jobs, []
        self._gone.difference_update(job.container_id for job in jobs)
        try:
            failures = veth.plug([(job.pid, job.plans) for job in jobs])
            whole = [job for job, failure in zip(jobs, failures, strict=True) if failure is None]
            for job, failure in zip(jobs, failures, strict=True):
                if failure is not None:
                    _end(job, failure)
            rules = [(job.container_id, rule) for job in whole for rule in job.rules]
            try:
                if rules:
                    await backend.publish(self.store.roots, rules)
            except EngineError:
                await self._apply_one_by_one(whole)
            self._take_over(whole)
            for job in whole:
                _end(job)
        except BaseException as error:
            for job in jobs:
                _end(job, error)
            raise

    def _take_over(self, jobs: Sequence[_Job]) -> None:
        """Make the kernel forget connections of the addresses' earlier owners, and of formerly unused ports."""
        endpoints = [plan.endpoint for job in jobs for plan in job.plans]
        if self._left.intersection(one for end in endpoints for one in _addresses(end)):
            self._forget()
        ports = {(port.protocol, port.host_port) for job in jobs for port in job.rules if port.protocol == "udp"}
        if ports:
            from engine.net import conntrack

            conntrack.forget((), ports)

    async def _apply_one_by_one(self, jobs: Sequence[_Job]) -> None:
        """The kernel refused a rule: retry one by one to find the container, and serve the others."""
        for job in jobs:
            try:
                rules = [(job.container_id, rule) for rule in job.rules]
                await backend.withdraw(self.store.roots, rules)
                await backend.publish(self.store.roots, rules)
            except EngineError as error:
                _end(job, error)


def _by_rules() -> bool:
    """Whether packet rules serve published ports on all addresses of the host, also on loopback addresses."""
    return (
        not rootless.here()
        and preferences.read().ports_opened_by != "firewall"
        and probe.native()
        and native.has_relay()
    )


def _target(v4: str, v6: str, endpoints: Sequence[Endpoint]) -> Target:
    """Only for an ordinary user the relay serves clients whose address packet rules would have kept."""
    if not rootless.here() or not probe.native():
        return Target(v4, v6)
    returning.prepare()
    bits = {one.ipv4_address: one.ipv4_prefix for one in endpoints} | {o.ipv6_address: o.ipv6_prefix for o in endpoints}
    return Target(v4, v6, True, bits.get(v4, 0), bits.get(v6, 0))


def _addresses(end: Endpoint) -> list[str]:
    return [one for one in (end.ipv4_address, end.ipv6_address) if one]


def _end(job: _Job, error: BaseException | None = None) -> None:
    if job.done.done():
        return
    if error is None:
        job.done.set_result(None)
    else:
        job.done.set_exception(error)
