"""Replacing a container by one that is up to date, as docker compose does it: create, stop, remove, rename.

The new container is made first, under a temporary name, so that a specification that the engine refuses costs nothing. When
something comes in between, both containers stay, or the new one with its temporary name: that is an observed state like
any other, and `leftovers` plans what to do about it.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from composer.plan.desired import DesiredService
from composer.plan.labels import number_of, service_of
from composer.plan.observed import Snapshot
from composer.plan.operations import RECREATE, Create, Operation, Plan, Remove, Rename, Stop
from composer.plan.options import Options
from engine.spec.state import ContainerRecord, Status

_TEMPORARY = re.compile(r"([0-9a-f]{12})_(.+)")


def temporary_name(replaced: str, name: str) -> str:
    """The name of a container `name` while the container with the id `replaced` is there."""
    return f"{replaced[:12]}_{name}"


def final_name(name: str) -> str:
    """The name that a container with this temporary one will have; "" for a name that is not temporary."""
    match = _TEMPORARY.fullmatch(name)
    return match[2] if match else ""


def replace(
    plan: Plan, service: DesiredService, record: ContainerRecord, name: str, cause: str, options: Options,
    *, after: tuple[int, ...], stopped: int | None,
) -> tuple[Create, Operation]:  # fmt: skip
    """Plan a new container in the place of `record`: its creation, and what must have happened before it may start.

    `stopped` is the operation that stops the old one where the plan has one already.
    """
    own: dict[str, Any] = {"service_name": service.name, "part": RECREATE}
    renew = options.renew_anon_volumes
    created = plan.add(
        Create, name, cause, service=service, number=number_of(record), replaces=record.id, renew_volumes=renew,
        after=after, **own,
    )  # fmt: skip
    ended: tuple[int, ...] = () if stopped is None else (stopped,)
    if stopped is None and (record.state.status.alive or record.state.status is Status.RESTARTING):
        stop = plan.add(
            Stop, record.spec.name, "it is replaced", container_id=record.id, service=service, timeout=options.timeout,
            after=(created.id,), **own,
        )  # fmt: skip
        ended = (stop.id,)
    removed = plan.add(
        Remove, record.spec.name, "it is replaced", container_id=record.id, volumes=renew, force=True,
        after=(created.id, *ended), **own,
    )  # fmt: skip
    return created, plan.add(Rename, name, cause, after=(created.id, removed.id), **own)


def leftovers(plan: Plan, snapshot: Snapshot) -> tuple[Snapshot, tuple[int, ...]]:
    """Plan the end of replacements that were cut short: where the old container is there, the new one goes; where the old
    one is gone, the new one takes its name. What the snapshot will then be, and the operations after which it is."""
    left, done = [], []
    names = {record.spec.name for record in snapshot.containers}
    for record in snapshot.containers:
        match = _TEMPORARY.fullmatch(record.spec.name)
        if match is None or not service_of(record) or record.state.started_at:
            left.append(record)
            continue
        own: dict[str, Any] = {"container_id": record.id, "service_name": service_of(record)}
        if any(other.id.startswith(match[1]) for other in snapshot.containers):
            cause = "its replacement was interrupted"
            done.append(plan.add(Remove, record.spec.name, cause, volumes=True, force=True, **own).id)
        elif match[2] not in names:
            done.append(plan.add(Rename, match[2], "its replacement was interrupted", **own).id)
            left.append(msgspec.structs.replace(record, spec=msgspec.structs.replace(record.spec, name=match[2])))
        else:
            left.append(record)
    return msgspec.structs.replace(snapshot, containers=left), tuple(done)
