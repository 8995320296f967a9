"""--wait: until services are running, and healthy where they have a healthcheck."""

from __future__ import annotations

import select as selecting
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError
from composer.cli.project.containers import select
from composer.cli.render.progress import State
from engine.spec.state import Status

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from engine.spec.state import ContainerRecord


def wait_ready(context: Context, services: Sequence[str], *, timeout: float = 0) -> None:
    """Wait for the containers of `services` (empty: all), at most `timeout` seconds (0: for ever).

    CommandError when one has ended or is unhealthy, or when the time is over.
    """
    deadline = time.monotonic() + timeout if timeout else None
    watch = context.engine.watch(context.project_name)
    try:
        with context.progress() as progress:
            ready: set[str] = set()
            while True:
                waiting = []
                for record in select(context.containers(), services):
                    step = f"Container {record.spec.name}"
                    if _is_ready(record):
                        if record.id not in ready:
                            progress.update(step, "Healthy", State.DONE)
                        ready.add(record.id)
                        continue
                    failure = _failure(record)
                    if failure:
                        progress.update(step, "Error", State.ERROR)
                        raise CommandError(failure)
                    progress.update(step, "Waiting")
                    waiting.append(record.spec.name)
                if not waiting:
                    return
                rest = None if deadline is None else deadline - time.monotonic()
                if rest is not None and rest <= 0:
                    raise CommandError(
                        f"timeout waiting for dependencies: {', '.join(waiting)} not ready in {timeout:g}s"
                    )
                selecting.select([watch.fileno()], [], [], rest)
                watch.read()
    finally:
        watch.close()


def _is_ready(record: ContainerRecord) -> bool:
    health = record.state.health
    return record.state.status is Status.RUNNING and (health is None or health.status == "healthy")


def _failure(record: ContainerRecord) -> str:
    """Why this container will not become ready; "" while it may."""
    state, name = record.state, record.spec.name
    if state.status in (Status.EXITED, Status.DEAD):
        return f"container {name} exited ({state.exit_code})"
    if state.status is Status.RUNNING and state.health is not None and state.health.status == "unhealthy":
        probe = state.health.log[-1] if state.health.log else None
        told = f": its healthcheck ended with {probe.exit_code}\n{probe.output.strip()}".rstrip() if probe else ""
        return f"container {name} is unhealthy{told}"
    return ""
