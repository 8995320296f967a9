"""Whether a container is healthy, completed or running, or why it can no longer become so.

    healthy     its healthcheck has passed
    completed   it has exited with 0
    running     it runs, and is healthy if it has a healthcheck

depends_on, --wait, `start`, `restart` and `run` all use this.
"""

from __future__ import annotations

from composer.plan.desired import COMPLETED, HEALTHY
from composer.plan.labels import service_of
from engine.spec.state import ContainerRecord, Status

CONDITIONS = {HEALTHY: "healthy", COMPLETED: "completed"}
"""The conditions of depends_on that a start must wait for."""


class Never(Exception):
    """The condition can no longer be fulfilled; `str(e)` is the reason."""


def outcome(record: ContainerRecord, condition: str) -> bool | None:
    """True when the container fulfils the condition, None while it may still do so. Raises Never when it cannot.

    A container has a health once the engine has started it with a healthcheck, its own or the image's.
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
    """Whether an unchanged container already fulfils the condition."""
    try:
        return outcome(record, condition) is True
    except Never:
        return False
