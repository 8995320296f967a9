"""Taking over: what an earlier supervisor or keeper left is read from files and the kernel, never from memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import msgspec

from engine import control
from engine.container import state as files
from engine.errors import EngineError, KeeperLost, OtherVersion
from engine.filetree.remove import remove as remove_tree
from engine.keeper.child.dns import open_sockets
from engine.keeper.client import KeeperClient
from engine.kernel import calls
from engine.net.redirect import redirect
from engine.net.rtnetlink import inside
from engine.session import group_store
from engine.spec.state import INTERRUPTED, ContainerRecord, Status

if TYPE_CHECKING:
    from engine.session.session import Session


_ATTEMPTS, _PAUSE = 250, 0.02
"""How often, and after how many seconds each, a keeper is asked whether a killed process has ended."""
PATIENCE = 60.0
"""Seconds that a keeper of another version has to give a terminal."""


async def adopt(session: Session, *, clean: bool = False) -> list[ContainerRecord]:
    """See Changes.adopt. A container is alive when its process is; anything of a dead one is removed."""
    names = group_store.names(session.store, session.group)
    found = files.every(session.roots, session.group, names)
    known = await _keeper_of_ours(session, found)
    # One that ended while it had no keeper is adopted, too, for its last output and its exit code.
    found = [session.records.get(record.id, record) if record.id in session.retained else record for record in found]
    session.records = {record.id: record for record in found}
    for container_id in set(names) - set(session.records) - session.creating:
        group_store.release(session.store, container_id)  # a creation that a crash ended before its folder was whole
    interrupted = [] if clean else _interrupted(session, found)
    if not known:
        for container_id in interrupted:
            _settle_start(session, container_id, executed=False)
    if not known and not any(record.state.status.alive for record in found):
        if not clean:
            await _sweep(session)
            await _finish_removals(session)
        return list(session.records.values())
    keeper = await session.keeper()
    answer, _ = await keeper.ask("list")
    kept = {entry["id"]: entry for entry in answer["containers"]}
    for container_id in interrupted if known else ():
        _settle_start(session, container_id, executed=container_id in kept and kept[container_id]["executed"])
    for record in list(session.records.values()):
        entry = kept.pop(record.id, None)
        if record.id in session.starting:
            continue  # who starts it sees to it
        if entry is None and record.state.status.alive:
            await _readopt(session, record)
        elif entry is not None and not record.state.status.alive:
            await _end(session, record.id)
    for container_id in kept:
        await _end(session, container_id)  # its folder has gone: it belongs to nobody
    for record in list(session.records.values()):
        if record.id in session.starting:
            continue
        if record.state.status.alive:
            session.ended.setdefault(record.id, asyncio.Event())
            await _resume(session, record)
        elif record.state.status is Status.EXITED:
            session.replace(record.id, record.state)
    await _sweep(session)
    await _finish_removals(session)
    return list(session.records.values())


async def _keeper_of_ours(session: Session, found: list[ContainerRecord]) -> bool:
    """Whether there is a keeper that we can talk to. One of another version (it was started before an upgrade) is killed:
    containers live on, and what would be lost of them with their keeper is held until the next one takes it."""
    try:
        known = KeeperClient.connect(session.roots, session.group)
    except OtherVersion:
        if session.has_had_keeper:
            raise  # this program was upgraded while we run: who comes after us can talk to it
        old = KeeperClient.connect(session.roots, session.group, "")
        for record in found:
            if old is not None and record.state.status.alive and record.id not in session.retained:
                with contextlib.suppress(EngineError, TimeoutError):
                    await asyncio.wait_for(session.hold(record, old), PATIENCE)
        if old is not None:
            old.close()
        await asyncio.to_thread(control.end, session.roots.keeper_socket(session.group))
        return False
    if known is not None:
        known.close()
    return known is not None


async def _readopt(session: Session, record: ContainerRecord) -> None:
    """The process lives, its keeper does not: the new keeper takes it over by pidfd."""
    path = f"{session.roots.running(session.group, record.id)}/bundle.json"
    try:
        held = session.retained.get(record.id)
        await (await session.keeper()).ask(
            "adopt",
            held.for_adoption if held else (),
            id=record.id,
            bundle=path,
            pid=record.state.pid,
            pid_start=record.state.pid_start,
        )
    except KeeperLost:
        raise  # the new one was killed, too: the container has no part in that
    except EngineError:
        with contextlib.suppress(ProcessLookupError):
            if calls.start_time(record.state.pid) == record.state.pid_start:
                os.kill(record.state.pid, 9)
        current = files.read(session.roots, session.group, record.id)
        if current is not None:
            session.records[record.id] = current


def _interrupted(session: Session, found: list[ContainerRecord]) -> list[str]:
    """Ids of containers whose supervisor was killed while it started them."""
    return [
        record.id
        for record in found
        if record.id not in session.starting and files.read_starting(session.folder(record.id)) is not None
    ]


def _settle_start(session: Session, container_id: str, *, executed: bool) -> None:
    """Complete a start that was interrupted when its program was executed, as the keeper knows. Otherwise it never happened:
    its process ends."""
    folder = session.folder(container_id)
    if executed:
        files.confirm_start(folder)
        current = files.read(session.roots, session.group, container_id)
        if current is not None:
            session.records[container_id] = current
        return
    begun = files.read_starting(folder)
    if begun is not None and files.is_running(begun):
        with contextlib.suppress(ProcessLookupError):
            os.kill(begun.pid, 9)
    files.drop_start(folder)
    session.change(container_id, error=INTERRUPTED)


async def _end(session: Session, container_id: str) -> None:
    """End a process that no running container has, and wait until the keeper has seen its end."""
    keeper = await session.keeper()
    with contextlib.suppress(EngineError):
        await keeper.ask("signal", id=container_id, signal=9)
    for _ in range(_ATTEMPTS):
        answer, _ = await keeper.ask("list")
        if container_id not in {entry["id"] for entry in answer["containers"]}:
            break
        await asyncio.sleep(_PAUSE)  # a keeper does not report the end of what was never executed
    if container_id in session.records:
        await session.clean(container_id)


async def _finish_removals(session: Session) -> None:
    """Remove what an earlier supervisor was just removing."""
    for record in list(session.records.values()):
        if record.state.status is Status.REMOVING and record.id not in session.removing:
            await session.remove(record.id, volumes=True)


async def _resume(session: Session, record: ContainerRecord) -> None:
    """Serve names and ports of a running container again."""
    session.publish(record.id)
    with contextlib.suppress(EngineError):
        await session.hold(record, await session.keeper())
    with contextlib.suppress(EngineError):
        _, descriptors = await (await session.keeper()).ask("sockets", id=record.id)
        if len(descriptors) == 2:
            session.dns.serve(record.id, descriptors[0], descriptors[1], record.spec.dns)
        elif record.state.endpoints and not session.dns.serves(record.id):
            await _reopen(session, record)
    await session.wiring.resume(record.id, record.state.ports, record.state.endpoints)


async def _reopen(session: Session, record: ContainerRecord) -> None:
    """Keeper and supervisor were killed, and with them the DNS sockets of the container went: open them again there."""
    try:
        with open(f"{session.roots.running(session.group, record.id)}/bundle.json", "rb") as file:
            port = msgspec.json.decode(file.read()).get("dns")
        if port is None:
            return
        space = os.open(f"/proc/{record.state.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with inside(space):
                udp, tcp = open_sockets(port)
        finally:
            os.close(space)
    except OSError:
        return  # it is just ending
    await redirect(record.state.pid, *session.dns.serve(record.id, udp, tcp, record.spec.dns))


async def _sweep(session: Session) -> None:
    """Remove kernel objects and files that belong to no living container."""
    alive = {record.id for record in session.records.values() if record.state.status.alive} | session.starting
    session.cgroups.sweep(session.group, alive)
    await session.wiring.sweep(alive, session.records.keys() - alive)
    running = f"{session.roots.run}/{session.group}"
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(running):
            if len(name) == 64 and name not in alive:
                with contextlib.suppress(OSError):
                    remove_tree(f"{running}/{name}")
    folder = f"{session.roots.groups}/{session.group}"
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if name not in session.records and name not in session.creating:
                with contextlib.suppress(OSError):
                    remove_tree(f"{folder}/{name}")  # a creation or removal cut short
