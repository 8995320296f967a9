"""Plugs containers into their networks. What is asked for in one moment is done together: one netlink send, one
iptables-restore."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
from typing import NamedTuple

from engine.errors import EngineError, NotFound
from engine.net import bridge, ipam, nat, ports
from engine.net.proxy import Proxy
from engine.net.rtnetlink import Rtnetlink
from engine.spec.container import Attachment, PortBinding
from engine.spec.network import NetworkRecord
from engine.spec.state import Endpoint
from engine.store import Store


class Plan(NamedTuple):
    """One attachment on its way: the leased addresses and the link that will carry them."""

    record: NetworkRecord
    attachment: Attachment
    endpoint: Endpoint


class _Job(NamedTuple):
    container_id: str
    pid: int
    plans: list[Plan]
    done: asyncio.Future[None]


class Wiring:
    """Connections of the containers of one group; lives in the supervisor."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._jobs: list[_Job] = []
        self._reservations: dict[str, ports.Reservation] = {}
        self._proxies: dict[str, Proxy] = {}
        self._rules: dict[str, nat.Rules] = {}
        self._pending_rules: nat.Rules = []
        self._rules_done: asyncio.Future[None] | None = None

    def lease(self, container_id: str, attachments: tuple[Attachment, ...]) -> list[Plan]:
        """Lease an address for each attachment (all or none) and choose interface names, in the order of gw_priority,
        priority, name, as Docker does. Raises NotFound, Conflict, PoolExhausted."""
        ordered = sorted(attachments, key=lambda a: (-a.priority, a.network))
        plans = []
        with self.store.transaction() as db:
            for index, attachment in enumerate(ordered):
                record = bridge.get(self.store, attachment.network)
                if record is None:
                    raise NotFound("network", attachment.network)
                found = ipam.lease(
                    db, record, container_id, v4=attachment.ipv4_address, v6=attachment.ipv6_address
                )
                plans.append(Plan(record, attachment, _endpoint(container_id, index, record, attachment, found)))
        return plans

    def reserve(self, container_id: str, wanted: tuple[PortBinding, ...]) -> list[PortBinding]:
        """Bind the published ports. Raises PortInUse."""
        reservation = ports.reserve(self.store, container_id, wanted)
        self._reservations[container_id] = reservation
        return reservation.bindings

    async def connect(self, container_id: str, pid: int, plans: list[Plan]) -> None:
        """Make the links of `plans` in the network namespace of `pid`, and the rules of the reserved ports."""
        if plans:
            for plan in plans:
                await bridge.ensure(plan.record)
            job = _Job(container_id, pid, plans, asyncio.get_running_loop().create_future())
            self._jobs.append(job)
            if len(self._jobs) == 1:
                asyncio.get_running_loop().call_soon(self._connect_all)
            await job.done
        reservation = self._reservations.get(container_id)
        address = next((p.endpoint.ipv4_address for p in plans if p.endpoint.ipv4_address and not p.record.spec.internal), "")
        if reservation and reservation.bindings and address:
            rules = nat.port_rules(container_id, address, reservation.bindings)
            self._rules[container_id] = rules
            await self._add_rules(rules)
            self._proxies[container_id] = Proxy(reservation.sockets, address)

    async def disconnect(self, container_id: str) -> None:
        """Withdraw rules, ports and leases; the links went with the network namespace."""
        self.release(container_id)
        rules = self._rules.pop(container_id, [])
        if rules:
            await nat.withdraw(rules)

    def release(self, container_id: str) -> None:
        """Give ports and addresses back."""
        if proxy := self._proxies.pop(container_id, None):
            proxy.close()
        if reservation := self._reservations.pop(container_id, None):
            reservation.close()
        with self.store.transaction() as db:
            db.execute("DELETE FROM ports WHERE owner = ?", (container_id,))
            db.execute("DELETE FROM addresses WHERE owner = ?", (container_id,))

    async def resume(self, container_id: str, bindings: tuple[PortBinding, ...], endpoints: tuple[Endpoint, ...]) -> None:
        """After a supervisor's death: hold a running container's ports again. Its links and rules are still there."""
        address = next((e.ipv4_address for e in endpoints if e.ipv4_address), "")
        if not bindings or not address:
            return
        self._rules[container_id] = nat.port_rules(container_id, address, bindings)
        try:
            reservation = ports.reserve(self.store, container_id, bindings)
        except EngineError:
            return  # somebody took the port meanwhile; the packet rules still serve it
        self._reservations[container_id] = reservation
        self._proxies[container_id] = Proxy(reservation.sockets, address)

    def close(self) -> None:
        for proxy in self._proxies.values():
            proxy.close()
        for reservation in self._reservations.values():
            reservation.close()

    async def sweep(self, alive: set[str]) -> None:
        """Remove rules, leases and ports that belong to no container in `alive` and to no network."""
        networks = bridge.every(self.store)
        owners = {row[0] for row in self.store.db.execute("SELECT id FROM containers")}
        with self.store.transaction() as db:
            for table in ("addresses", "ports"):
                for (owner,) in db.execute(f"SELECT DISTINCT owner FROM {table}").fetchall():
                    if owner not in owners:
                        db.execute(f"DELETE FROM {table} WHERE owner = ?", (owner,))
        if networks:
            known = {record.id[:12] for record in networks} | {owner[:12] for owner in owners | alive}
            await nat.withdraw(await nat.leftovers(known))

    def _connect_all(self) -> None:
        jobs, self._jobs = self._jobs, []
        from engine.net import messages

        descriptors: list[int] = []
        making: list[bytes] = []
        owners: list[_Job] = []
        spaces: dict[str, int] = {}
        try:
            for job in jobs:
                try:
                    space = os.open(f"/proc/{job.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                except OSError as error:
                    job.done.set_exception(EngineError(f"the container's process {job.pid} has gone: {error.strerror}"))
                    continue
                descriptors.append(space)
                spaces[job.container_id] = space
                for plan in job.plans:
                    index = _index(plan.record.bridge)
                    making.append(
                        messages.veth(
                            plan.endpoint.host_interface,
                            index,
                            plan.endpoint.interface,
                            space,
                            plan.endpoint.mac_address,
                            bridge.mtu(plan.record),
                        )
                    )
                    owners.append(job)
            with Rtnetlink() as kernel:
                errors = kernel.run(making)
            failed: dict[str, int] = {}
            for job, number in zip(owners, errors, strict=True):
                if number:
                    failed.setdefault(job.container_id, number)
            for job in jobs:
                if job.done.done():
                    continue
                if number := failed.get(job.container_id, 0):
                    job.done.set_exception(EngineError(f"cannot make a veth pair: {errno.errorcode.get(number, number)}"))
                    continue
                try:
                    _configure(spaces[job.container_id], job.plans)
                except EngineError as error:
                    job.done.set_exception(error)
                else:
                    job.done.set_result(None)
        except BaseException as error:
            for job in jobs:
                if not job.done.done():
                    job.done.set_exception(error)
        finally:
            for fd in descriptors:
                os.close(fd)

    async def _add_rules(self, rules: nat.Rules) -> None:
        """Gather rules until the restore under way has ended, then add them all at once."""
        self._pending_rules += rules
        while self._rules_done is not None:
            await asyncio.shield(self._rules_done)
        if not self._pending_rules:
            return
        batch, self._pending_rules = self._pending_rules, []
        self._rules_done = asyncio.get_running_loop().create_future()
        try:
            await nat.apply(batch)
        finally:
            done, self._rules_done = self._rules_done, None
            done.set_result(None)


def _index(link: str) -> int:
    import socket

    return socket.if_nametoindex(link)


def _configure(space: int, plans: list[Plan]) -> None:
    """lo up, addresses and the default route inside the network namespace."""
    from engine.net import messages

    kernel, indexes = Rtnetlink.inside(space, [plan.endpoint.interface for plan in plans])
    with kernel:
        commands = [messages.link_up(1)]
        for index, plan in zip(indexes, plans, strict=True):
            end = plan.endpoint
            commands.append(messages.link_up(index))
            if end.ipv4_address:
                broadcast = str(ipaddress.ip_interface(f"{end.ipv4_address}/{end.ipv4_prefix}").network.broadcast_address)
                commands.append(messages.address(index, end.ipv4_address, end.ipv4_prefix, broadcast))
            if end.ipv6_address:
                commands.append(messages.address(index, end.ipv6_address, end.ipv6_prefix))
            for link_local in plan.attachment.link_local_ips:
                commands.append(messages.address(index, link_local, 64 if ":" in link_local else 16))
        outward = sorted(
            (number for number in range(len(plans)) if not plans[number].record.spec.internal),
            key=lambda number: (-plans[number].attachment.gw_priority, number),
        )
        for version in ("ipv4_gateway", "ipv6_gateway"):
            for number in outward:
                if gateway := getattr(plans[number].endpoint, version):
                    commands.append(messages.default_route(gateway, indexes[number]))
                    break
        kernel.do("configure the network of", "the container", commands)


def _endpoint(
    container_id: str, index: int, record: NetworkRecord, attachment: Attachment, found: dict[int, tuple[str, ipam.Pool]]
) -> Endpoint:
    v4, pool4 = found.get(4, ("", None))
    v6, pool6 = found.get(6, ("", None))
    packed = ipaddress.ip_address(v4).packed if v4 else os.urandom(4)
    return Endpoint(
        network=record.spec.name,
        interface=attachment.interface_name or f"eth{index}",
        host_interface=f"cv{container_id[:11]}{index:x}"[:15],
        mac_address=attachment.mac_address or "02:42:" + ":".join(f"{byte:02x}" for byte in packed),
        ipv4_address=v4,
        ipv4_prefix=ipaddress.ip_network(pool4.subnet).prefixlen if pool4 else 0,
        ipv4_gateway=pool4.gateway if pool4 else "",
        ipv6_address=v6,
        ipv6_prefix=ipaddress.ip_network(pool6.subnet).prefixlen if pool6 else 0,
        ipv6_gateway=pool6.gateway if pool6 else "",
        aliases=attachment.aliases,
    )
