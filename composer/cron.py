"""Cron expressions as Compose's jobs have them: five fields, numbers only (minute hour day-of-month month day-of-week).

The grammar and the messages are those of Docker Engine's job scheduler.
"""

from __future__ import annotations

FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day-of-month", 1, 31), ("month", 1, 12), ("day-of-week", 0, 7))


class CronError(ValueError):
    """The text is not a cron expression; the message names the field and what is wrong with it."""


class Cron:
    """The values at which a schedule fires. `days` and `weekdays` are None where the field begins with `*`: a day matches when
    all fields that are not None do; when both day fields are given, one of them is enough. Sunday is 0.

    `masks` are the day fields as sets, `*/2` written out, for the days on which the field that begins with `*` counts too.
    """

    __slots__ = ("days", "hours", "masks", "minutes", "months", "text", "weekdays")

    def __init__(self, text: str) -> None:
        words = text.split()
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


def _values(text: str, name: str, least: int, most: int) -> frozenset[int]:
    found: set[int] = set()
    for term in text.split(","):
        try:
            found.update(_term(term, least, most))
        except CronError as error:
            raise CronError(f"{name} field: invalid term {_quoted(term)}: {error}") from None
    return frozenset(found)


def _term(text: str, least: int, most: int) -> range:
    base, slash, step = text.partition("/")
    first, dash, last = base.partition("-")
    if base == "*":
        start, end = least, most
    elif dash:
        start, end = _number(first, least, most), _number(last, least, most)
        if start > end:
            raise CronError("range is reversed")
    else:
        start = end = _number(base, least, most)
        if slash:
            raise CronError("a step requires * or a range")
    return range(start, end + 1, _number(step, 1, most) if slash else 1)


def _number(text: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdigit():
        raise CronError(f"{_quoted(text)} is not a number (names and shortcuts are not supported)")
    number = int(text[:9])
    if not least <= number <= most:
        raise CronError(f"value {text} is outside {least}-{most}")
    return number


def _quoted(text: str) -> str:
    return '"' + text + '"'
