"""Removing a container with its files, its name, and its anonymous volumes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from anyio import to_thread

from engine.errors import Conflict, OperationFailed, WrongState
from engine.filetree.remove import remove as remove_tree
from engine.paths import SPEC_FILE
from engine.session import group_store, stop, users
from engine.session.group import Group
from engine.spec.state import ContainerRecord, Status
from engine.volume import store as volumes


async def remove(group: Group, container_id: str, *, force: bool = False, with_volumes: bool = False) -> None:
    """See Changes.remove."""
    record = group.record(container_id)
    if record.state.status.alive:
        if not force:
            raise WrongState(f"container {record.spec.name} is {record.state.status.value}: stop it before removing it")
        await stop.stop(group, container_id, 0, "SIGKILL")
    group.removing.add(container_id)
    try:
        await _remove(group, record, record.state.anonymous_volumes if with_volumes else ())
    finally:
        group.removing.discard(container_id)


async def _remove(group: Group, record: ContainerRecord, anonymous: Sequence[str]) -> None:
    """After a crash at any point, either nothing is left, or a container that is marked as being removed and records
    its volumes; `adopt` then removes it."""
    with contextlib.suppress(OperationFailed):  # a full disk: it is removed all the same
        group.change(record.id, status=Status.REMOVING, anonymous_volumes=tuple(anonymous))
    await group.clean(record.id)
    for name in anonymous:
        with contextlib.suppress(Conflict):  # another container took it over
            others = [user for user in users.volume_users(group.roots, name) if user != record.id]
            volumes.remove(group.store, name, others)
    folder = group.folder(record.id)
    with contextlib.suppress(OSError):
        os.unlink(f"{folder}/{SPEC_FILE}")  # first: a directory without this file is not a container
    try:
        await to_thread.run_sync(remove_tree, folder)
    except OSError as error:
        raise OperationFailed.of("remove the files of", record.spec.name, error) from error
    group_store.release(group.store, record.id)
    group.records.pop(record.id, None)  # so that a concurrent adoption does not find it
    with contextlib.suppress(OSError):
        os.rmdir(f"{group.roots.groups}/{group.name}")


async def finish_removals(group: Group) -> None:
    """Complete the removals that an earlier supervisor began."""
    for record in list(group.records.values()):
        if record.state.status is Status.REMOVING and record.id not in group.removing:
            await remove(group, record.id, with_volumes=True)
