"""When a job fires: what its schedules, the clock and what was decided before say. Pure.

What is decided is never decided again: each schedule remembers the planned time up to which all fires are settled.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from functools import lru_cache

from msgspec import Struct

from composer.cron import Cron
from composer.plan.desired import Schedule

CORRECTION = 3 * 3600.0
"""Seconds by which a clock must have been set back to have been wrong before (as in cron(8)): the schedule then goes by the
new time. After less, what has fired already does not fire again."""
TOLERANCE = 60.0
"""Seconds after its time at which a fire is late, not missed."""


class Due(Struct, frozen=True, kw_only=True):
    """`planned`: the time of a fire that is due, 0 for none; `queue`: it may wait for a run to end. `decided`: what is
    settled when it has been dealt with. `following`: the time of the next fire, 0 for none ever."""

    planned: float
    queue: bool
    decided: dict[str, float]
    following: float


def armed(schedules: tuple[Schedule, ...], now: float) -> dict[str, float]:
    """`decided` of schedules that begin now."""
    return {schedule.key: now for schedule in schedules}


def due(schedules: tuple[Schedule, ...], decided: Mapping[str, float], now: float, *, begun: bool = False) -> Due:
    """What is due at `now`. Fires of several schedules, and fires that were missed, are one. `begun`: we have only just
    begun to look, so that what is overdue was missed."""
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


def fires(schedule: Schedule, moment: float, count: int) -> list[float]:
    """The next fires after a moment; fewer than `count` where there are no more."""
    after = _cron(schedule.cron).after(moment, zone_of(schedule.timezone))
    return [found for _, found in zip(range(count), after, strict=False)]


def next_fires(schedules: tuple[Schedule, ...], moment: float, count: int) -> list[float]:
    """The next fires of all schedules together."""
    return sorted({found for schedule in schedules for found in fires(schedule, moment, count)})[:count]


def _latest(schedule: Schedule, last: float, now: float) -> float:
    """The latest fire after `last` that is not after `now`; 0 when there is none."""
    first = fires(schedule, last, 1)
    if not first or first[0] > now:
        return 0.0
    # Among many that were missed: look at the end of the time that has passed, in steps that grow.
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
    """UTC for "", and where the machine does not know the zone."""
    if not name or name == "UTC":
        return datetime.UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return datetime.UTC
