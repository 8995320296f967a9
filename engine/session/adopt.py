"""Adopting containers of an earlier supervisor or keeper, from files and the kernel, never from memory."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec
from anyio import Event, move_on_after, sleep, to_thread

from engine import control
from engine.container import state as files
from engine.errors import EngineError, KeeperLost, OtherVersion
from engine.filetree.remove import remove as remove_tree
from engine.keeper.child.direct import Direct
from engine.keeper.child.dns import open_sockets
from engine.keeper.client import KeeperClient
from engine.kernel import calls
from engine.kernel.boot import boot_id
from engine.net import endpoint
from engine.net.redirect import redirect
from engine.net.rtnetlink import inside
from engine.paths import BUNDLE_FILE
from engine.session import group_store, membership
from engine.session.group import Group
from engine.session.remove import finish_removals
from engine.spec.state import INTERRUPTED, ContainerRecord, Status

if TYPE_CHECKING:
    from engine.keeper.messages import Listed

_ATTEMPTS, _PAUSE = 250, 0.02
"""Delays in seconds between the requests to a keeper whether a killed process has ended."""
PATIENCE = 60.0
"""Seconds that a keeper of another version has to hand over a terminal."""


REPAIR_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between attempts to take over if the keeper is killed meanwhile."""


async def take_over(
    group: Group, *, clean: bool = False, again: type[EngineError] = KeeperLost
) -> list[ContainerRecord]:
    """Adopt the group; after an error of the type `again`, try again several times before raising it."""
    for pause in (*REPAIR_PAUSES, None):
        try:
            found = await _adopt(group, clean=clean)
            if group.adopted is not None and (group.link.client is not group.adopted or group.link.lost):
                raise KeeperLost(f"the keeper of {group.name} was killed while it adopted containers")
        except again as error:
            if pause is None:
                raise
            print(f"adopt the containers of {group.name}: {error}", file=sys.stderr, flush=True)
            clean = False
            await sleep(pause)
        else:
            break
    return found


async def _adopt(group: Group, *, clean: bool = False) -> list[ContainerRecord]:
    """See Changes.adopt. A container is alive if its process is; remains of dead ones are removed."""
    group.adopted = None
    names = group_store.names(group.store, group.name)
    found = files.every(group.roots, group.name, names)
    # A reboot removes the run root, which would show that the last supervisor was killed.
    clean = clean and not _was_interrupted(group, found, names)
    # After an orderly exit, the only keeper is the one that we have just started.
    known = not clean and await _has_own_keeper(group, found)
    # A container that exited while it had no keeper is adopted as well, for its last output and its exit code.
    found = [group.records.get(record.id, record) if record.id in group.retained else record for record in found]
    group.records = {record.id: record for record in found}
    for container_id in set(names) - set(group.records) - group.creating:
        group_store.release(group.store, container_id)  # a crash interrupted its creation
    interrupted = [] if clean else _interrupted(group, found)
    if not known:
        for container_id in interrupted:
            _settle_start(group, container_id, executed=False)
    if not known and not any(record.state.status.alive for record in found):
        if not clean:
            await _sweep(group)
            await finish_removals(group)
        return list(group.records.values())
    keeper = await group.keeper()
    answer, _ = await keeper.ask("list")
    kept = {entry["id"]: entry for entry in answer["containers"]}
    for container_id in interrupted if known else ():
        _settle_start(group, container_id, executed=container_id in kept and kept[container_id]["executed"])
    await _reconcile(group, keeper, kept)
    await _resume_all(group, keeper)
    group.adopted = keeper
    await _sweep(group)
    await finish_removals(group)
    return list(group.records.values())


async def _reconcile(group: Group, keeper: KeeperClient, kept: dict[str, Listed]) -> None:
    """Hand living containers, and no others, to the keeper. `kept`: those that it has, by id."""
    for record in list(group.records.values()):
        entry = kept.pop(record.id, None)
        if record.id in group.starting:
            continue  # its start handles this
        if entry is None and record.state.status.alive:
            await _readopt(group, keeper, record)
        elif entry is not None and not record.state.status.alive:
            await _end(group, keeper, record.id)
    for container_id in kept:
        await _end(group, keeper, container_id)  # its directory does not exist: nothing refers to it


async def _resume_all(group: Group, keeper: KeeperClient) -> None:
    """Serve living containers again, and release the resources of those that no longer run."""
    for container_id in list(group.records):
        current = group.records.get(container_id)  # it may have exited or been removed while we waited for others
        if current is None or container_id in group.starting:
            continue
        if current.state.status.alive:
            group.ended.setdefault(container_id, Event())
            await _resume(group, keeper, current)
            if not _runs(group, current):
                group.withdraw(container_id)
                await group.wiring.disconnect(container_id)
        elif current.state.status is Status.EXITED:
            group.replace(container_id, current.state)
    await _complete_networks(group)


async def _complete_networks(group: Group) -> None:
    """Complete changes of networks that a crash cut short: together, because containers may exchange addresses, or, where
    one cannot be completed, each on its own."""
    alive = [one for one in group.records if group.running(one) is not None and one not in group.starting]
    try:
        await membership.complete(group, *alive)
    except EngineError:  # a network may have been removed, or an address assigned to another container
        for container_id in alive:
            with contextlib.suppress(EngineError):
                await membership.complete(group, container_id)


def _was_interrupted(group: Group, found: list[ContainerRecord], names: Iterable[str]) -> bool:
    """Whether the group's files show an operation that never ended."""
    try:
        folders = set(os.listdir(f"{group.roots.groups}/{group.name}"))
    except FileNotFoundError:
        folders = set()
    return (
        {record.id for record in found} != folders
        or folders != set(names)
        or any(record.state.status is Status.REMOVING for record in found)
        or any(record.state.boot_id not in ("", boot_id()) for record in found)
        or bool(_interrupted(group, found))
    )


async def _has_own_keeper(group: Group, found: list[ContainerRecord]) -> bool:
    """Whether there is a keeper of our version. One of another version, started before an upgrade, is killed:
    containers keep running, and their descriptors are retained until the next keeper takes them."""
    try:
        known = KeeperClient.connect(group.roots, group.name)
    except OtherVersion:
        if group.link.client is not None:
            raise  # this program was upgraded while we run: our successor can connect to it
        old = KeeperClient.connect(group.roots, group.name, "")
        for record in found:
            if old is not None and record.state.status.alive and record.id not in group.retained:
                with contextlib.suppress(EngineError), move_on_after(PATIENCE):
                    await group.retain(record, old)
        if old is not None:
            old.close()
        await to_thread.run_sync(control.end, group.roots.keeper_socket(group.name))
        return False
    if known is not None:
        known.close()
    return known is not None


async def _readopt(group: Group, keeper: KeeperClient, record: ContainerRecord) -> None:
    """The process lives, its keeper does not: the new keeper takes it over by pidfd."""
    path = f"{group.run_folder(record.id)}/{BUNDLE_FILE}"
    try:
        retained = group.retained.get(record.id)
        await keeper.ask(
            "adopt",
            retained.for_adoption if retained else (),
            id=record.id,
            bundle=path,
            pid=record.state.pid,
            pid_start=record.state.pid_start,
        )
    except KeeperLost:
        raise  # the new keeper was killed as well; the container did not cause that
    except EngineError:
        with contextlib.suppress(ProcessLookupError):
            if calls.start_time(record.state.pid) == record.state.pid_start:
                os.kill(record.state.pid, 9)
        current = files.read(group.roots, group.name, record.id)
        if current is not None:
            group.records[record.id] = current


def _interrupted(group: Group, found: list[ContainerRecord]) -> list[str]:
    """Ids of containers whose supervisor was killed while it started them."""
    return [
        record.id
        for record in found
        if record.id not in group.starting and files.read_starting(group.folder(record.id)) is not None
    ]


def _settle_start(group: Group, container_id: str, *, executed: bool) -> None:
    """Complete an interrupted start if the keeper reports that the program was executed. Otherwise undo it: end the
    process."""
    folder = group.folder(container_id)
    if executed:
        files.confirm_start(folder)
        current = files.read(group.roots, group.name, container_id)
        if current is not None:
            group.records[container_id] = current
        return
    begun = files.read_starting(folder)
    if begun is not None and files.is_running(begun):
        with contextlib.suppress(ProcessLookupError):
            os.kill(begun.pid, 9)
    files.drop_start(folder)
    group.change(container_id, error=INTERRUPTED)


async def _end(group: Group, keeper: KeeperClient, container_id: str) -> None:
    """End a process that belongs to no running container, and wait until the keeper has reaped it."""
    with contextlib.suppress(EngineError):
        await keeper.ask("signal", id=container_id, signal=9)
    for _ in range(_ATTEMPTS):
        answer, _ = await keeper.ask("list")
        if container_id not in {entry["id"] for entry in answer["containers"]}:
            break
        await sleep(_PAUSE)  # a keeper does not report the exit of a process whose program was never executed
    if container_id in group.records:
        await group.clean(container_id)


def _runs(group: Group, record: ContainerRecord) -> bool:
    """Whether the container is alive, or about to be, since `record` was read."""
    current = group.records.get(record.id)
    return record.id in group.starting or (current is not None and current.state.status.alive)


async def _resume(group: Group, keeper: KeeperClient, record: ContainerRecord) -> None:
    """Serve names and ports of a running container again."""
    group.publish(record.id)
    group.resolvers.follow(record)
    with contextlib.suppress(EngineError):
        await group.retain(record, keeper)
    with contextlib.suppress(EngineError):
        _, descriptors = await keeper.ask("sockets", id=record.id)
        if len(descriptors) == 2:
            group.dns.serve(record.id, descriptors[0], descriptors[1], record.spec.dns)
        elif record.state.endpoints and not group.dns.serves(record.id):
            await _reopen(group, record)
    if not _runs(group, record) or record.id in group.starting:
        return
    found = endpoint.ordered(record.state.endpoints, record.spec.networks)
    await group.wiring.resume(record.id, record.state.ports, found)


async def _reopen(group: Group, record: ContainerRecord) -> None:
    """Keeper and supervisor were killed, so the DNS sockets of the container are closed: open them again there."""
    try:
        with open(f"{group.run_folder(record.id)}/{BUNDLE_FILE}", "rb") as file:
            port = msgspec.json.decode(file.read()).get("dns")
        if port is None:
            return
        space = os.open(f"/proc/{record.state.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with inside(space):
                udp, tcp = open_sockets(Direct(), port)
        finally:
            os.close(space)
    except OSError:
        return  # it is exiting
    await redirect(record.state.pid, *group.dns.serve(record.id, udp, tcp, record.spec.dns))


async def _sweep(group: Group) -> None:
    """Remove kernel objects and files that belong to no living container."""
    alive = {record.id for record in group.records.values() if record.state.status.alive} | group.starting
    group.cgroups.sweep(group.name, alive)
    await group.wiring.sweep(alive, group.records.keys() - alive)
    running = f"{group.roots.run}/{group.name}"
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(running):
            if len(name) == 64 and name not in alive:
                with contextlib.suppress(OSError):
                    remove_tree(f"{running}/{name}")
    folder = f"{group.roots.groups}/{group.name}"
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if name not in group.records and name not in group.creating:
                with contextlib.suppress(OSError):
                    remove_tree(f"{folder}/{name}")  # an interrupted creation or removal
