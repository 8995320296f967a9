"""Points in time as --since and --until take them, like docker's: whole nanoseconds, none of which is lost."""

from __future__ import annotations

import datetime
import re
import time

from composer.cli.errors import UsageError

SECOND = 1_000_000_000
UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}
DURATION = re.compile(r"(\d*)(?:\.(\d*))?(ns|us|µs|ms|s|m|h)")
_FRACTION = re.compile(r"(?<=:\d\d)\.(\d+)")


def parse_moment(text: str, *, now: int | None = None) -> int:
    """Nanoseconds since the epoch for `42m` (that long ago), `2013-01-02T13:23:37.123456789Z`, a date, or a Unix timestamp.

    A time without a zone is local. UsageError for anything else.
    """
    if match := re.fullmatch(r"(\d+)(?:\.(\d+))?", text):
        return int(match[1]) * SECOND + _nanoseconds(match[2])
    rest = text.removeprefix("-")
    if rest and DURATION.sub(_nothing, rest) == "":
        ago = sum(_length(*part) for part in DURATION.findall(rest))
        return (time.time_ns() if now is None else now) - (-ago if text.startswith("-") else ago)
    fraction = _FRACTION.search(text)
    try:
        whole = datetime.datetime.fromisoformat(_FRACTION.sub("", text)).timestamp()
    except (ValueError, OverflowError):
        raise UsageError(
            f'invalid time "{text}": expected a duration (42m), a timestamp (2013-01-02T13:23:37Z) or seconds since 1970'
        ) from None
    return int(whole) * SECOND + _nanoseconds(fraction and fraction[1])


def _nothing(match: re.Match[str]) -> str:
    """A part of a duration taken away; one without digits is none."""
    return "" if match[1] or match[2] else match[0]


def _nanoseconds(fraction: str | None) -> int:
    return int((fraction or "").ljust(9, "0")[:9])


def _length(whole: str, fraction: str, unit: str) -> int:
    smaller = int(fraction or 0) * UNITS[unit] // int(10 ** len(fraction))
    return int(whole or 0) * UNITS[unit] + smaller
