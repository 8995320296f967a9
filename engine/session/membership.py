"""Connecting and disconnecting networks of an existing container, without recreating it.

spec.json records the networks that the container should have, its state those that it has: spec.json ─▶ link, addresses
─▶ state. If a crash separates the two, `complete` finishes the change at the next adoption.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from engine.container import own_files
from engine.container import state as files
from engine.errors import Conflict, EngineError, NotFound, WrongState
from engine.net import bridge, endpoint, veth
from engine.session import name_files
from engine.session.group import Group
from engine.spec.container import Attachment, ContainerSpec, Membership
from engine.spec.network import NetworkRecord
from engine.spec.state import ContainerRecord, Endpoint


async def connect(group: Group, container_id: str, attachment: Attachment) -> ContainerRecord:
    """See Changes.connect."""
    await group.cleaned()  # a container that has just exited may still hold the address
    record = group.changeable(container_id)
    if record.spec.network_mode not in ("", bridge.DEFAULT):
        raise WrongState(
            f"container {record.spec.name} cannot join a network: it has network_mode {record.spec.network_mode}"
        )
    if attachment.network == bridge.DEFAULT:
        bridge.need_default(group.store)
    network = _name(group, attachment.network)
    if any(_known(group, one.network) == network for one in record.spec.networks):
        raise Conflict(f"container {record.spec.name} is connected to network {network} already")
    attachment = replace(attachment, network=network)
    _write(group, record, (*record.spec.networks, attachment))
    try:
        return (await complete(group, container_id))[0]
    except EngineError:
        _write(group, group.record(container_id), record.spec.networks)
        raise


async def disconnect(group: Group, container_id: str, network: str) -> ContainerRecord:
    """See Changes.disconnect."""
    record = group.changeable(container_id)
    with contextlib.suppress(NotFound):  # one that has gone is left, too
        network = _name(group, network)
    left = tuple(one for one in record.spec.networks if network not in (one.network, _known(group, one.network)))
    if len(left) == len(record.spec.networks):
        raise NotFound("network", network, hint=f"Container {record.spec.name} is not connected to it.")
    _write(group, record, left)
    return (await complete(group, container_id))[0]


async def rejoin(group: Group, changes: Sequence[Membership]) -> list[ContainerRecord]:
    """See Changes.rejoin."""
    await group.cleaned()
    before, wanted, rejoined = {}, {}, {}
    for change in changes:
        spec = group.changeable(change.container_id).spec
        if spec.network_mode:
            raise WrongState(f"container {spec.name} cannot change networks: it has network_mode {spec.network_mode}")
        networks = tuple(replace(one, network=_name(group, one.network)) for one in change.networks)
        known = {_known(group, one.network): _link(one) for one in spec.networks}
        before[change.container_id] = spec
        wanted[change.container_id] = replace(spec, networks=networks, labels={**spec.labels, **change.labels})
        rejoined[change.container_id] = tuple(
            one.network for one in networks if known.get(one.network, _link(one)) != _link(one)
        )
    try:
        return await _apply(group, wanted, rejoined)
    except EngineError:
        with contextlib.suppress(EngineError):
            await _apply(group, before, rejoined)
        raise


def _link(attachment: Attachment) -> Attachment:
    """What a change of requires a new link for: all but names and the order of networks."""
    return replace(attachment, aliases=(), links=(), avoid=(), priority=0, gw_priority=0)


async def _apply(
    group: Group, specs: Mapping[str, ContainerSpec], rejoined: Mapping[str, tuple[str, ...]]
) -> list[ContainerRecord]:
    """Write the specifications, by container id, then carry them out. `rejoined`: networks that a container leaves and joins
    again."""
    for container_id, spec in specs.items():
        if group.record(container_id).state.status.alive:
            group.change(container_id, rejoining=rejoined[container_id])
        _rewrite(group, group.record(container_id), spec)
    return await complete(group, *specs)


class _Change:
    """What it takes to put a container on the networks that its specification has, and off all others."""

    def __init__(self, group: Group, record: ContainerRecord) -> None:
        self.record, state = record, record.state
        self.wanted = {_known(group, one.network): one for one in record.spec.networks}
        self.found = list(state.endpoints)
        rejoined = state.rejoining or ()
        self.removed = [one for one in self.found if one.network not in self.wanted or one.network in rejoined]
        kept = {end.network for end in self.found if end not in self.removed}
        self.new = [one for name, one in self.wanted.items() if name not in kept]
        self.is_due = state.status.alive and bool(self.new or self.removed or state.rejoining is not None)

    async def leave(self, group: Group) -> None:
        for end in self.removed:
            pid = self.record.state.pid
            self.found = await group.wiring.detach(self.record.id, pid, end.network, self.found)

    async def join(self, group: Group) -> None:
        for one in self.new:
            self.found.append(await group.wiring.attach(self.record.id, self.record.state.pid, one, self.found))


async def complete(group: Group, *container_ids: str) -> list[ContainerRecord]:
    """Put running containers on the networks that their specifications have, and off all others. All leave before any
    joins, so they can exchange addresses."""
    changes = [change for one in container_ids if (change := _Change(group, group.record(one))).is_due]
    try:
        for change in changes:
            await change.leave(group)
        for change in changes:
            await change.join(group)
    except BaseException:
        for change in changes:
            group.change(change.record.id, endpoints=tuple(change.found))
        raise
    for change in changes:
        found = [replace(end, aliases=change.wanted[end.network].aliases) for end in change.found]
        await _take_effect(group, change.record, found, change.removed)
    return [group.record(one) for one in container_ids]


async def restore(group: Group, network: NetworkRecord) -> None:
    """Another program has removed or switched off parts of the network: its bridge, which has been created again, the
    bridge's addresses, or links of containers. Connect its running containers again, whatever project they belong to; those
    of other projects only if their links exist."""
    bridge.restore(network)
    name = network.spec.name
    rows = group.store.db.execute("SELECT DISTINCT owner FROM addresses WHERE network = ?", (name,)).fetchall()
    owners: dict[str, str] = {}
    for (owner,) in rows:
        with contextlib.suppress(NotFound):
            found = group.other(owner).state.endpoints
            owners |= {end.host_interface: owner for end in found if end.network == name and end.host_interface}
    for owner in {owners[link] for link in veth.replug(network, owners) if group.running(owners[link]) is not None}:
        kept = group.record(owner).state.rejoining or ()
        group.change(owner, rejoining=(*kept, name))
        try:
            await complete(group, owner)
        except EngineError:
            if group.running(owner) is not None:  # it has not exited meanwhile
                raise


async def move(group: Group, container_id: str, network: str) -> None:
    """The DHCP server of the network's LAN gives a running container another address: leave and join it again."""
    record = group.record(container_id)
    attachment = next((one for one in record.spec.networks if _known(group, one.network) == network), None)
    if attachment is None or not record.state.status.alive:
        return
    removed = [end for end in record.state.endpoints if end.network == network]
    found = await group.wiring.detach(container_id, record.state.pid, network, record.state.endpoints)
    found.append(await group.wiring.attach(container_id, record.state.pid, attachment, found))
    await _take_effect(group, record, found, removed)


async def _take_effect(
    group: Group, record: ContainerRecord, found: list[Endpoint], removed: list[Endpoint]
) -> ContainerRecord:
    """The default route, the published ports, names, the state, and the container's own /etc/hosts and
    /etc/resolv.conf."""
    state = record.state
    wanted = () if state.ports else record.spec.ports
    leading = endpoint.ordered(found, record.spec.networks)
    bound = await group.wiring.set_default_route(record.id, state.pid, leading, state.ports, wanted)
    changed = group.change(record.id, endpoints=tuple(found), ports=tuple(bound), rejoining=None)
    group.publish(record.id)
    kept = {end.network for end in state.endpoints if end not in removed}
    own_files.change_hosts(changed, [end for end in found if end.network not in kept], removed)
    if found and record.spec.dns:  # it may have queried these servers directly
        own_files.replace_resolv_conf(changed, name_files.resolvers(changed, ()), name_files.resolvers(changed, found))
    return changed


def _write(group: Group, record: ContainerRecord, networks: tuple[Attachment, ...]) -> None:
    _rewrite(group, record, replace(record.spec, networks=networks))


def _rewrite(group: Group, record: ContainerRecord, spec: ContainerSpec) -> None:
    files.rewrite_spec(group.folder(record.id), spec, record.state)
    group.records[record.id] = replace(record, spec=spec)


def _name(group: Group, network: str) -> str:
    """The name of the network with this name or id. Raises NotFound."""
    found = bridge.get(group.store, network)
    if found is None:
        raise NotFound("network", network)
    return found.spec.name


def _known(group: Group, network: str) -> str:
    """The same, `network` itself for one that is not there."""
    found = bridge.get(group.store, network)
    return found.spec.name if found else network
