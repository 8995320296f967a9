"""When a container is healthy, has completed or runs, and why it never will. The one place that decides it: for depends_on,
--wait, `start`, `restart` and `run`.

    healthy     its healthcheck has passed
    completed   it has ended with 0
    running     it runs, and is healthy if it has a healthcheck
"""

from __future__ import annotations

from composer.plan.desired import COMPLETED, HEALTHY
from composer.plan.labels import service_of
from engine.spec.state import ContainerRecord, Status

CONDITIONS = {HEALTHY: "healthy", COMPLETED: "completed"}
"""Those of depends_on that need waiting for."""


class Never(Exception):
    """The condition cannot be fulfilled any more; `str(e)` says why."""


def outcome(record: ContainerRecord, condition: str) -> bool | None:
    """True when the container fulfils the condition, None while it may yet. Never when it never will.

    The engine gives a container a health when it starts one that has a healthcheck, of its own or its image's.
    """
    state, name = record.state, record.spec.name
    if condition == "completed":
        if state.status is not Status.EXITED:
            return None
        if state.exit_code:
            raise Never(f'service "{service_of(record)}" didn\'t complete successfully: exit {state.exit_code}')
        return True
    if state.status in (Status.EXITED, Status.DEAD):
        raise Never(f"container {name} exited ({state.exit_code})")
    if state.status is not Status.RUNNING:
        return None
    if state.health is None:
        if condition == "healthy":
            raise Never(f"container {name} has no healthcheck configured")
        return True
    if state.health.status == "unhealthy":
        raise Never(f"container {name} is unhealthy")
    return True if state.health.status == "healthy" else None


def fulfilled(record: ContainerRecord, condition: str) -> bool:
    """Whether a container that stays as it is needs no waiting for."""
    try:
        return outcome(record, condition) is True
    except Never:
        return False
