"""Checks of jobs: their triggers, and the limits in `x-composer`, which the schema does not cover."""

from __future__ import annotations

from composer.cron import Cron, CronError
from composer.load.errors import LoadError, did_you_mean
from composer.load.tree.nodes import Map
from engine.quantities import QuantityError, nanoseconds

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    from composer.load.tree.nodes import Path

    class Check(Protocol):
        """The services of the project, and the errors at its paths."""

        services: Map
        disabled: Map

        def wrong(self, path: Path, message: str, hint: str = "") -> LoadError: ...


def triggers(check: Check, name: str, job: Map) -> Iterator[LoadError]:
    """Check the name, schedules and trigger of a job."""
    triggers, place = job.get("triggers", {}), ("jobs", name, "triggers")
    schedules = triggers.get("schedule", ())
    if name in check.services or name in check.disabled:
        yield check.wrong(("jobs", name), f"job {name!r} has the same name as a service", "rename one of them")
    if schedules and triggers.get("manual"):
        yield check.wrong(
            (*place, "manual"), f'job "{name}" declares both manual:true and a schedule, exactly one is supported'
        )
    if not schedules and "manual" not in triggers:
        yield check.wrong(place, f'job "{name}" has no trigger', "write manual: true, or a schedule")
    for index, schedule in enumerate(schedules):
        path: Path = (*place, "schedule", index)
        try:
            Cron(schedule["cron"])
        except CronError as error:
            yield check.wrong((*path, "cron"), f'job "{name}": schedule[{index}]: {error}')
        zone = schedule.get("timezone", "")
        if zone and not _is_timezone(zone):
            yield check.wrong(
                (*path, "timezone"),
                f'job "{name}": schedule: unknown timezone {zone}',
                "write an IANA name, such as Europe/Paris",
            )


def limits(check: Check, name: str, job: Map) -> Iterator[LoadError]:
    """Check `x-composer` of a job, which the schema does not cover."""
    ours, place = job.get("x-composer", Map()), ("jobs", name, "x-composer")
    if not isinstance(ours, dict):
        yield check.wrong(place, f"jobs.{name}.x-composer must be a mapping")
        return
    for key, value in ours.items():
        if key not in JOB_LIMITS:
            hint = did_you_mean(str(key), JOB_LIMITS) or f"supported: {', '.join(JOB_LIMITS)}"
            yield check.wrong((*place, key), f"jobs.{name}.x-composer: unknown key {key}", hint)
        elif why := JOB_LIMITS[key](value):
            yield check.wrong((*place, key), f"jobs.{name}.x-composer.{key}: {why}")


def _is_timezone(name: str) -> bool:
    """Whether this machine has the time zone. Without a time zone database, every name is accepted."""
    import os
    from zoneinfo import TZPATH

    folders = [folder for folder in TZPATH if os.path.isdir(folder)]
    parts = name.split("/")
    if not all(part and part[0].isalnum() for part in parts):
        return False
    return not folders or any(os.path.isfile(os.path.join(folder, name)) for folder in folders)


def _wrong_duration(value: Any) -> str:
    try:
        return "must not be negative" if nanoseconds(str(value)) < 0 else ""
    except QuantityError as error:
        return str(error)


def _wrong_count(value: Any) -> str:
    return (
        "" if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else "must be a whole number from 0"
    )


JOB_LIMITS: dict[str, Callable[[Any], str]] = {
    "timeout": _wrong_duration,
    "retries": _wrong_count,
    "retry_delay": _wrong_duration,
    "history": _wrong_count,
}
"""Key of a job's `x-composer` → function that returns the error in a value, or ""."""
