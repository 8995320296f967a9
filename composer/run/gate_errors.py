"""Why a condition failed: docker compose's message, with details that help to find the cause."""

from __future__ import annotations

from collections.abc import Callable

from composer.plan.conditions import Never
from composer.plan.gates import WAIT
from composer.plan.operations import Wait
from composer.run.health import Check
from engine.errors import EngineError
from engine.spec.state import ContainerRecord, Status

LOG_LINES = 10
"""The number of log lines in an error, from the end of the log."""

Tail = Callable[[str, int], list[str]]
"""The last lines of a container's log: (container id, how many)."""


class GateFailed(EngineError):
    """A condition that the plan waited for can no longer be fulfilled."""


def optional(reason: Never, service: str) -> str:
    """The reason, worded for a dependency that is not required."""
    text = str(reason)
    if "didn't complete" in text:
        return f"Skipped: optional dependency {text.removeprefix('service ')}"
    return f'Skipped: optional dependency "{service}" failed to start: {text}'


def timed_out(wait: Wait, record: ContainerRecord) -> GateFailed:
    """The time limit of --wait-timeout has passed."""
    if wait.cause != WAIT:
        return GateFailed(f"timeout waiting for dependencies: {wait.name} not {wait.condition} in {wait.timeout:g}s")
    state = record.state
    now = (
        "not completed"
        if wait.condition == "completed"
        else state.health.status
        if state.health
        else state.status.value
    )
    return GateFailed(f"application not healthy after {wait.timeout:g}s: container {wait.name} is {now}")


def explained(reason: Never, wait: Wait, record: ContainerRecord, check: Check | None, tail: Tail) -> GateFailed:
    """The reason with the last probe and the last lines of the log."""
    whole = wait.cause == WAIT or "didn't complete" in str(reason)
    lines = [str(reason) if whole else f"dependency failed to start: {reason}"]
    health = record.state.health
    if check is not None and health is not None and health.log and record.state.status is Status.RUNNING:
        probe = health.log[-1]
        ended = f"timed out after {check.timeout:g} s" if probe.exit_code == -1 else f"exit code {probe.exit_code}"
        lines.append(f"  healthcheck: {' '.join(check.test)}")
        lines.append(f"  {ended}, {health.failing_streak} times in a row; the last output:")
        lines += [f"    {line}" for line in probe.output.strip().splitlines() or ["(none)"]]
    logged = tail(record.id, LOG_LINES)
    if logged:
        lines.append(f"  the last lines of {record.spec.name}:")
        lines += [f"    {line}" for line in logged]
    return GateFailed("\n".join(lines))
