"""Gates: when a container is healthy, has completed or runs, and why it never will; docker compose's words first."""

from __future__ import annotations

from collections.abc import Callable

from composer.plan import observed
from composer.run.health import HEALTHY, UNHEALTHY, Check
from engine.errors import EngineError
from engine.spec.state import ContainerRecord, Status

LOG_LINES = 10
"""How many of a container's last log lines an error shows."""

Tail = Callable[[str, int], list[str]]
"""The last lines of a container's log: (container id, how many)."""


class GateFailed(EngineError):
    """What was waited for will not come."""


def outcome(record: ContainerRecord, condition: str, check: Check | None) -> bool | None:
    """True when the container fulfils the condition, None while it may yet. GateFailed (its first line only) when not."""
    state, name = record.state, record.spec.name
    if condition == "completed":
        if state.status is not Status.EXITED:
            return None
        if state.exit_code:
            service = observed.service_of(record)
            raise GateFailed(f'service "{service}" didn\'t complete successfully: exit {state.exit_code}')
        return True
    if state.status in (Status.EXITED, Status.DEAD):
        raise GateFailed(f"container {name} exited ({state.exit_code})")
    if condition == "running" and check is None:
        return True if state.status is Status.RUNNING else None
    if check is None:
        raise GateFailed(f"container {name} has no healthcheck configured")
    if state.status is not Status.RUNNING or state.health is None:
        return None
    if state.health.status == UNHEALTHY:
        raise GateFailed(f"container {name} is unhealthy")
    return True if state.health.status == HEALTHY else None


def explained(failure: GateFailed, record: ContainerRecord, check: Check | None, tail: Tail) -> GateFailed:
    """The failure with what helps to find its reason: the last probe and the last lines of the log."""
    lines = [
        failure.message if "didn't complete" in failure.message else f"dependency failed to start: {failure.message}"
    ]
    health = record.state.health
    if check is not None and health is not None and health.log and record.state.status is Status.RUNNING:
        probe = health.log[-1]
        ended = f"no answer within {check.timeout:g} s" if probe.exit_code == -1 else f"exit code {probe.exit_code}"
        lines.append(f"  healthcheck: {' '.join(check.test)}")
        lines.append(f"  {ended}, {health.failing_streak} times in a row; the last output:")
        lines += [f"    {line}" for line in probe.output.strip().splitlines() or ["(none)"]]
    logged = tail(record.id, LOG_LINES)
    if logged:
        lines.append(f"  the last lines of {record.spec.name}:")
        lines += [f"    {line}" for line in logged]
    return GateFailed("\n".join(lines))
