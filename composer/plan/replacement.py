"""Plan the replacement of a container by an up-to-date one, as docker compose does: create, stop, remove, rename.

The new container is created first, under a temporary name, so that the old one keeps running if the engine refuses the
new specification. An interruption leaves both containers, or the new one under its temporary name. That is an observed
state like any other, and `leftovers` plans its repair.
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
    """The name of the new container `name` while the container with the id `replaced` still exists."""
    return f"{replaced[:12]}_{name}"


def final_name(name: str) -> str:
    """The final name for a temporary name; "" if the name is not temporary."""
    match = _TEMPORARY.fullmatch(name)
    return match[2] if match else ""


def replace(
    plan: Plan, service: DesiredService, record: ContainerRecord, name: str, cause: str, options: Options,
    *, after: tuple[int, ...], stopped: int | None,
) -> tuple[Create, Operation]:  # fmt: skip
    """Plan a new container in place of `record`. Returns its creation and the operations that must precede its start.

    `stopped` is the operation that already stops the old one, if any.
    """
    own: dict[str, Any] = {"service_name": service.name, "part": RECREATE}
    renew = options.renew_anon_volumes
    created = plan.add(
        Create, name, cause, service=service, number=number_of(record), replaces=record.id, renew_volumes=renew,
        after=after, **own,
    )  # fmt: skip
    ended: tuple[int, ...] = () if stopped is None else (stopped,)
    if stopped is None and record.state.status.up:
        stop = plan.add_for(
            Stop, record, "it is replaced", service=service, timeout=options.timeout, after=(created.id,), part=RECREATE
        )
        ended = (stop.id,)
    removed = plan.add_for(
        Remove, record, "it is replaced", volumes=renew, force=True, after=(created.id, *ended), part=RECREATE
    )
    return created, plan.add(Rename, name, cause, after=(created.id, removed.id), **own)


def leftovers(plan: Plan, snapshot: Snapshot) -> tuple[Snapshot, tuple[int, ...]]:
    """Plan to finish interrupted removals and replacements: if the old container still exists, remove the new one;
    otherwise rename the new one. Returns the snapshot afterwards, and the operations that lead to it."""
    left, done = [], []
    existing = [record for record in snapshot.containers if record.state.status is not Status.REMOVING]
    for record in snapshot.containers:
        if record.state.status is Status.REMOVING:
            done.append(_remove(plan, record, "its removal was interrupted"))
    removed = tuple(done)
    names = {record.spec.name for record in existing}
    for record in existing:
        match = _TEMPORARY.fullmatch(record.spec.name)
        if match is None or not service_of(record) or record.state.started_at:
            left.append(record)
            continue
        cause = "its replacement was interrupted"
        if any(other.id.startswith(match[1]) for other in existing):
            done.append(_remove(plan, record, cause))
        elif match[2] not in names:
            own: dict[str, Any] = {"container_id": record.id, "service_name": service_of(record)}
            done.append(plan.add(Rename, match[2], cause, after=removed, **own).id)
            left.append(msgspec.structs.replace(record, spec=msgspec.structs.replace(record.spec, name=match[2])))
        else:
            left.append(record)
    return msgspec.structs.replace(snapshot, containers=left), tuple(done)


def _remove(plan: Plan, record: ContainerRecord, cause: str) -> int:
    """Plan to remove the container with the anonymous volumes that its state records; returns the operation's id."""
    own: dict[str, Any] = {"container_id": record.id, "service_name": service_of(record)}
    return plan.add(Remove, record.spec.name, cause, volumes=True, force=True, **own).id
