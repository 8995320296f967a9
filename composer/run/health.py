"""Health checks, with Docker's rules (docs.docker.com/reference/dockerfile, HEALTHCHECK).

A probe starts `interval` seconds after the end of the previous one, or every `start_interval` during `start_period`. A
failure within the start period does not count until a probe has succeeded; `retries` failures in a row make the
container unhealthy. Unlike Docker, we also probe right after the start, and ignore failures of these probes, so that a
container that is ready at once is healthy at once.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from anyio import current_time, sleep
from msgspec import Struct

from engine.errors import EngineError
from engine.spec.container import Healthcheck
from engine.spec.state import Health, Probe

EARLY = (0.0, 0.1)
"""Seconds before each early probe. They stop early enough to miss the short time in which a database answers while it
initialises itself."""
KEPT = 5
"""Probes in the health log, as Docker keeps them."""

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"


class Check(Struct, frozen=True, kw_only=True):
    """A health check with all values set; in seconds, with Docker's defaults."""

    test: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0
    start_interval: float = 5.0


def check_of(own: Healthcheck | None, images: Healthcheck | None) -> Check | None:
    """The service's settings, then the image's; None when there is no check or it is disabled."""
    found: dict[str, object] = {}
    for source in (images, own):
        if source is not None:
            if source.test and source.test[0] == "NONE":
                found = {}
                continue
            values = {name: getattr(source, name) for name in Check.__struct_fields__}
            found.update({name: value for name, value in values.items() if value is not None})
    if not found.get("test"):
        return None
    if own is not None and own.test and own.test[0] == "NONE":
        return None
    # An image's values are unchecked.
    wrong = {name for name, least in _LEAST.items() if found.get(name, least) < least}  # type: ignore[operator]
    return Check(**{name: value for name, value in found.items() if name not in wrong})  # type: ignore[arg-type]


_LEAST = {"interval": 0.001, "timeout": 0.001, "retries": 1, "start_period": 0.0, "start_interval": 0.001}
"""Smaller values mean the default, as 0 does."""


def judged(health: Health, probe: Probe, check: Check, *, in_start_period: bool) -> Health:
    """The health after this probe."""
    log = (*health.log, probe)[-KEPT:]
    if probe.exit_code == 0:
        return Health(status=HEALTHY, failing_streak=0, log=log)
    if in_start_period and health.status == STARTING:
        return Health(status=STARTING, failing_streak=0, log=log)
    streak = health.failing_streak + 1
    return Health(status=UNHEALTHY if streak >= check.retries else health.status, failing_streak=streak, log=log)


async def watch(
    check: Check,
    started_at: float,
    health: Health,
    *,
    probe: Callable[[], Awaitable[Probe | None]],
    report: Callable[[Health], Awaitable[None]],
    clock: Callable[[], float] = time.time,
) -> None:
    """Probe until cancelled, and report each change of health. `probe` returns None when it could not run, because the
    container is paused or just exiting. `started_at` is in seconds since the epoch; afterwards, changes to the clock
    have no effect."""
    begun = current_time() - max(0.0, clock() - started_at)
    if health.status == STARTING and not health.log:
        for pause in EARLY:
            if pause >= check.interval:
                break
            await sleep(pause)
            outcome = await _attempt(probe)
            if outcome is not None and outcome.exit_code == 0:
                health = judged(health, outcome, check, in_start_period=True)
                await report(health)
                break
    while True:
        young = health.status == STARTING and current_time() - begun < check.start_period
        await sleep(check.start_interval if young else check.interval)
        in_start_period = current_time() - begun < check.start_period
        outcome = await _attempt(probe)
        if outcome is not None:
            health = judged(health, outcome, check, in_start_period=in_start_period)
            await report(health)


async def _attempt(probe: Callable[[], Awaitable[Probe | None]]) -> Probe | None:
    try:
        return await probe()
    except EngineError:
        return None  # the container or its keeper is exiting; a restart calls us again
