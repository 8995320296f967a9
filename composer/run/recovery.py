"""Finishing what a crash cut short in the middle of a recreation (executor.py, `_recreate`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from composer.plan.observed import service_of
from engine.spec.state import ContainerRecord

if TYPE_CHECKING:
    from composer.run.port import Changes

TEMPORARY = re.compile(r"([0-9a-f]{12})_(.+)")
"""The name of a container that was about to take the place of another: that one's id, the name to come."""


async def repair(changes: Changes) -> None:
    """Where the old container is still there, the new one goes; where it has gone, the new one takes its name."""
    records = changes.containers()
    names = {record.spec.name for record in records}
    for record in records:
        match = TEMPORARY.fullmatch(record.spec.name)
        if match is None or not service_of(record) or record.state.started_at:
            continue
        old = _with_id(records, match[1])
        if old is not None:
            own = tuple(n for n in record.state.anonymous_volumes if n not in old.state.anonymous_volumes)
            await changes.update(record.id, msgspec.structs.replace(record.state, anonymous_volumes=own))
            await changes.remove(record.id, volumes=True)
        elif match[2] not in names:
            await changes.rename(record.id, match[2])


def _with_id(records: Iterable[ContainerRecord], prefix: str) -> ContainerRecord | None:
    return next((record for record in records if record.id.startswith(prefix)), None)
