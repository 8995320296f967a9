"""Cron expressions of Compose's jobs, and the moments at which they fire.

Five fields (minute hour day-of-month month day-of-week) in the grammar and with the messages of Docker Engine's scheduler,
and two things that Docker refuses: names (mon, jan) and shortcuts (@daily), as crontab(5) has them.

Summer time, as Docker's scheduler treats it: a time that the clock skips does not fire on that day; a time that comes twice
fires once, the first time.
"""

from __future__ import annotations

import datetime
from bisect import bisect_left
from collections.abc import Iterator

FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day-of-month", 1, 31), ("month", 1, 12), ("day-of-week", 0, 7))
SHORTCUTS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
NAMES = {
    "month": {name: n for n, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)},
    "day-of-week": {name: n for n, name in enumerate("sun mon tue wed thu fri sat".split())},
}
YEARS = 9
"""How far ahead a fire is searched: the longest time between two 29ths of February, and a year."""


class CronError(ValueError):
    """The text is not a cron expression; the message names the field and what is wrong with it."""


class Cron:
    """The values at which a schedule fires. `days` and `weekdays` are None where the field begins with `*`: a day matches when
    all fields that are not None do; when both day fields are given, one of them is enough. Sunday is 0.

    `masks` are the day fields as sets, `*/2` written out, for the days on which the field that begins with `*` counts too.
    """

    __slots__ = ("days", "hours", "masks", "minutes", "months", "text", "weekdays")

    def __init__(self, text: str) -> None:
        words = _written_out(text).split()
        if len(words) != len(FIELDS):
            names = " ".join(name for name, _, _ in FIELDS)
            raise CronError(f"cron expression must have {len(FIELDS)} fields ({names}), got {len(words)}")
        sets = [_values(word, *field) for word, field in zip(words, FIELDS, strict=True)]
        self.text = text
        self.minutes, self.hours, days, self.months, weekdays = sets
        weekdays = frozenset(day % 7 for day in weekdays)
        self.masks = (days, weekdays)
        self.days = None if words[2].startswith("*") else days
        self.weekdays = None if words[4].startswith("*") else weekdays

    def on(self, month: int, day: int, weekday: int) -> bool:
        """Whether it fires on a day; `weekday` counts from Sunday, 0."""
        if month not in self.months:
            return False
        if self.days is not None and self.weekdays is not None:
            return day in self.days or weekday in self.weekdays
        return day in self.masks[0] and weekday in self.masks[1]

    def after(self, timestamp: float, zone: datetime.tzinfo) -> Iterator[float]:
        """The fires after a moment, in order; seconds since the epoch. It ends where none comes for nine years."""
        begin = datetime.datetime.fromtimestamp(timestamp, zone)
        clock = [(hour, minute) for hour in sorted(self.hours) for minute in sorted(self.minutes)]
        day, last = begin.date(), begin.date()
        left = clock[
            bisect_left(clock, (begin.hour, begin.minute)) :
        ]  # what a clock showed earlier it first showed earlier
        while (day - last).days < YEARS * 366:
            if self.on(day.month, day.day, day.isoweekday() % 7):
                for hour, minute in left:
                    found = _timestamp(day, hour, minute, zone)
                    if found is not None and found > timestamp:
                        last = day
                        yield found
            left = clock
            try:
                day += datetime.timedelta(days=1)
            except OverflowError:
                return


def _timestamp(day: datetime.date, hour: int, minute: int, zone: datetime.tzinfo) -> float | None:
    """Seconds since the epoch of the first time that a clock in the zone shows this; None when it skips it."""
    shown = datetime.datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
    found = shown.timestamp()
    back = datetime.datetime.fromtimestamp(found, zone)
    return found if (back.hour, back.minute, back.day) == (hour, minute, day.day) else None


def _written_out(text: str) -> str:
    """A shortcut as five fields."""
    word = text.strip()
    if not word.startswith("@"):
        return text
    if word.lower() not in SHORTCUTS:
        raise CronError(f"unknown shortcut {_quoted(word)}; known: {', '.join(SHORTCUTS)}")
    return SHORTCUTS[word.lower()]


def _values(text: str, name: str, least: int, most: int) -> frozenset[int]:
    found: set[int] = set()
    for term in text.split(","):
        try:
            found.update(_term(term, name, least, most))
        except CronError as error:
            raise CronError(f"{name} field: invalid term {_quoted(term)}: {error}") from None
    return frozenset(found)


def _term(text: str, name: str, least: int, most: int) -> range:
    base, slash, step = text.partition("/")
    first, dash, last = base.partition("-")
    if base == "*":
        start, end = least, most
    elif dash:
        start, end = _value(first, name, least, most), _value(last, name, least, most)
        if start > end:
            raise CronError("range is reversed")
    else:
        start = end = _value(base, name, least, most)
        if slash:
            raise CronError("a step requires * or a range")
    return range(start, end + 1, _number(step, 1, most) if slash else 1)


def _value(text: str, name: str, least: int, most: int) -> int:
    """A number, or in the fields that have them a name."""
    named = NAMES.get(name, {}).get(text.lower())
    return _number(text, least, most) if named is None else named


def _number(text: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdecimal():
        raise CronError(f"{_quoted(text)} is not a number")
    number = int(text[:9])
    if not least <= number <= most:
        raise CronError(f"value {text} is outside {least}-{most}")
    return number


def _quoted(text: str) -> str:
    return '"' + text + '"'
