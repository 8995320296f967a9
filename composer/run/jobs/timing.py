"""Decide when a job fires, from its schedules, the time, and earlier decisions. Pure functions.

No decision is made twice: for each schedule, we record the planned time up to which all fires are decided.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from functools import lru_cache

from msgspec import Struct

from composer.cron import Cron
from composer.plan.desired import Schedule

CORRECTION = 3 * 3600.0
"""Seconds. If the clock is set back by more, it is taken to have been wrong, and schedules follow the new time (as in
cron(8)). After a smaller change, past fires do not fire again."""
TOLERANCE = 60.0
"""Seconds by which a fire may be late without counting as missed."""


class Due(Struct, frozen=True, kw_only=True):
    """`planned`: the time of the fire that is due, 0 for none. `queue`: it may wait for the end of a run. `decided`:
    the decided times once this fire has been handled. `following`: the time of the next fire, 0 for never."""

    planned: float
    queue: bool
    decided: dict[str, float]
    following: float


def armed(schedules: tuple[Schedule, ...], now: float) -> dict[str, float]:
    """The initial `decided` of schedules that begin now."""
    return {schedule.key: now for schedule in schedules}


def due(schedules: tuple[Schedule, ...], decided: Mapping[str, float], now: float, *, begun: bool = False) -> Due:
    """The fire that is due at `now`. Several schedules and missed fires count as a single fire. `begun`: the scheduler
    has just started, so overdue fires count as missed."""
    planned, following, queue, settled = 0.0, 0.0, False, {}
    for schedule in schedules:
        last = decided.get(schedule.key, now)
        if last > now + CORRECTION:
            last = now
        found = _latest(schedule, last, now)
        if found and not (begun and schedule.missed_fires == "skip" and now - found > TOLERANCE):
            planned, queue = max(planned, found), queue or schedule.concurrency == "queue"
        settled[schedule.key] = found or last
        if after := fires(schedule, max(settled[schedule.key], now if found else 0.0), 1):
            following = min(following or after[0], after[0])
    return Due(planned=planned, queue=queue, decided=settled, following=following)


def fires(schedule: Schedule, timestamp: float, count: int) -> list[float]:
    """Up to `count` next fires after a moment."""
    after = _cron(schedule.cron).after(timestamp, zone_of(schedule.timezone))
    return [found for _, found in zip(range(count), after, strict=False)]


def next_fires(schedules: tuple[Schedule, ...], timestamp: float, count: int) -> list[float]:
    """The next fires of all schedules together."""
    return sorted({found for schedule in schedules for found in fires(schedule, timestamp, count)})[:count]


def _latest(schedule: Schedule, last: float, now: float) -> float:
    """The latest fire in (last, now]; 0 if there is none."""
    first = fires(schedule, last, 1)
    if not first or first[0] > now:
        return 0.0
    # There may be many: search backwards from the end of the interval, in growing steps.
    back = 60.0
    while back < now - last:
        found = _within(schedule, now - back, now)
        if found:
            return found[-1]
        back *= 8
    return _within(schedule, last, now)[-1]


def _within(schedule: Schedule, start: float, end: float) -> list[float]:
    found = []
    for one in _cron(schedule.cron).after(start, zone_of(schedule.timezone)):
        if one > end:
            break
        found.append(one)
    return found


@lru_cache(maxsize=256)
def _cron(text: str) -> Cron:
    return Cron(text)


@lru_cache(maxsize=64)
def zone_of(name: str) -> datetime.tzinfo:
    """The zone; UTC for "" and for zones that this machine does not have."""
    if not name or name == "UTC":
        return datetime.UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return datetime.UTC
