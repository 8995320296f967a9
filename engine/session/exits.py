"""Handles the exit of a container, and of its keeper."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable

import msgspec
from anyio import Event
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from engine.container import state as files
from engine.errors import EngineError, OperationFailed
from engine.keeper.client import KeeperClient
from engine.session.adopt import take_over
from engine.session.group import Group
from engine.spec.state import ContainerExit, Status

Report = Callable[[str, ContainerExit], None]
"""Called with each container that has ended: its id, and how."""


async def watch(group: Group, client: KeeperClient, tasks: TaskGroup, report: Report) -> None:
    """Handle the exits that the keeper reports, concurrently, so that containers that exit together are cleaned up together;
    and the keeper's own exit."""
    async for message in client.exits():
        done = Event()
        group.ending.add(done)
        end = msgspec.convert(message["exit"], ContainerExit)
        tasks.start_soon(_clean_up, group, message["id"], end, report, done)
    if not group.closing:
        await _keeper_gone(group, report)


async def ended(group: Group, container_id: str, end: ContainerExit, report: Report) -> None:
    """A container's process has ended: notify waiters, record the end, release its resources."""
    record = group.records.get(container_id)
    if record is None or end.pid not in (0, record.state.pid):
        return  # the exit of an earlier process, or of one whose program was never executed
    if record.state.status is Status.REMOVING:
        return  # a container whose start has failed is removed while its process dies
    group.withdraw(container_id)
    state = files.exited(record.state, end)
    group.records[container_id] = msgspec.structs.replace(record, state=state)
    if event := group.ended.pop(container_id, None):
        event.set()
    report(container_id, end)
    # Those that wait for the exit need not wait for the rest; a start must (`settled`).
    await checkpoint()
    if (current := group.records.get(container_id)) and current.state is state:
        # No space left: readers of the old state also see that it has exited.
        with contextlib.suppress(OperationFailed):
            files.write_state(group.folder(container_id), state)
    with contextlib.suppress(EngineError):  # the next `adopt` removes what could not be removed now
        await group.clean(container_id)


async def _clean_up(group: Group, container_id: str, end: ContainerExit, report: Report, done: Event) -> None:
    try:
        await ended(group, container_id, end, report)
    finally:
        group.ending.discard(done)
        done.set()


async def _keeper_gone(group: Group, report: Report) -> None:
    """The keeper was killed: start another, which adopts running containers; those that died with it have exited."""
    async with group.takeover:
        if group.closing or (group.link.client is group.adopted and not group.link.lost):
            return
        try:
            found = await take_over(group, again=EngineError)
        except EngineError as error:
            print(f"adopt the containers of {group.name}: {error}", file=sys.stderr, flush=True)
            return
    for record in found:
        end = files.read_exit(group.folder(record.id))
        if record.state.status is Status.EXITED and record.id in group.ended:
            group.ended.pop(record.id).set()
            report(record.id, end or ContainerExit(exit_code=255, finished_at=time.time()))
