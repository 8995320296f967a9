"""Connecting and disconnecting networks of an existing container, without recreating it.

spec.json says on which networks the container is to be, its state on which it is: spec.json ─▶ link, addresses ─▶ state.
What a crash leaves between the two, `complete` does at the next adoption.
"""

from __future__ import annotations

import contextlib

from msgspec.structs import replace

from engine.container import own_files
from engine.container import state as files
from engine.errors import Conflict, EngineError, NotFound, WrongState
from engine.net import bridge, endpoint
from engine.session.group import Group
from engine.spec.container import Attachment
from engine.spec.state import ContainerRecord, Endpoint


async def connect(group: Group, container_id: str, attachment: Attachment) -> ContainerRecord:
    """See Changes.connect."""
    record = group.changeable(container_id)
    if record.spec.network_mode not in ("", *bridge.PREDEFINED[:1]):
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
        return await complete(group, container_id)
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
    return await complete(group, container_id)


async def complete(group: Group, container_id: str) -> ContainerRecord:
    """Put a running container on the networks that its specification has, and off all others."""
    record = group.record(container_id)
    if not record.state.status.alive:
        return record
    wanted = {_known(group, one.network): one for one in record.spec.networks}
    found = list(record.state.endpoints)
    gone = [one for one in found if one.network not in wanted]
    new = [one for name, one in wanted.items() if name not in {end.network for end in found}]
    for one in new:
        found.append(await group.wiring.attach(container_id, record.state.pid, one, found))
    for end in gone:
        found = await group.wiring.detach(container_id, record.state.pid, end.network, found)
    if not new and not gone:
        return record
    return await _take_effect(group, record, found, gone)


async def move(group: Group, container_id: str, network: str) -> None:
    """The DHCP server of the network's LAN gives a running container another address: leave and join it again."""
    record = group.record(container_id)
    attachment = next((one for one in record.spec.networks if _known(group, one.network) == network), None)
    if attachment is None or not record.state.status.alive:
        return
    gone = [end for end in record.state.endpoints if end.network == network]
    found = await group.wiring.detach(container_id, record.state.pid, network, record.state.endpoints)
    found.append(await group.wiring.attach(container_id, record.state.pid, attachment, found))
    await _take_effect(group, record, found, gone)


async def _take_effect(
    group: Group, record: ContainerRecord, found: list[Endpoint], gone: list[Endpoint]
) -> ContainerRecord:
    """The default route, the published ports, names, the state, and the container's own /etc/hosts."""
    state = record.state
    wanted = () if state.ports else record.spec.ports
    leading = endpoint.ordered(found, record.spec.networks)
    bound = await group.wiring.lead(record.id, state.pid, leading, state.ports, wanted)
    changed = group.change(record.id, endpoints=tuple(found), ports=tuple(bound))
    group.publish(record.id)
    kept = [end for end in state.endpoints if end not in gone]
    own_files.change_hosts(changed, [end for end in found if end not in kept], gone)
    return changed


def _write(group: Group, record: ContainerRecord, networks: tuple[Attachment, ...]) -> None:
    changed = replace(record, spec=replace(record.spec, networks=networks))
    files.rewrite_spec(group.folder(record.id), changed.spec, record.state)
    group.records[record.id] = changed


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
