"""Times, names and numbers in the Docker API's own notation."""

from __future__ import annotations

import datetime
import math
import re
import time
from typing import TYPE_CHECKING

from engine import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time: an event that has not happened."""
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
"""A part of a duration in Go's notation (pkg.go.dev/time#ParseDuration)."""


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 with nanoseconds, in UTC; NEVER for 0."""
    if not seconds:
        return NEVER
    return rfc3339.shortest(round(seconds * 1e9))


def go_time(seconds: float) -> str:
    """A time as Go and docker's listings print it: `2006-01-02 15:04:05 +0000 UTC`."""
    return (
        time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(seconds))
        if seconds
        else "0001-01-01 00:00:00 +0000 UTC"
    )


def parse_timestamp(text: str) -> float | None:
    """A point in time as in `since` and `until`: seconds with a fraction, RFC 3339, or a duration before now (`24h`,
    `1h30m`). None for "" and 0. Raises ValueError."""
    if not text or text == "0":
        return None
    seconds = _seconds(text)
    if not math.isfinite(seconds):
        raise ValueError(f"the time {text} is out of range")
    return seconds


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    if not _PART.sub("", text):
        return now() - sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    return datetime.datetime.fromisoformat(text).timestamp()


def now() -> float:
    return time.time()


def log_details(attrs: Mapping[str, str]) -> str:
    """What `logs --details` shows before a line: names and values, escaped as in a URL's query."""
    from urllib.parse import quote_plus

    return ",".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in sorted(attrs.items()))
