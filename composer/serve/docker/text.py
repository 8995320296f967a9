"""Times, names and numbers in the Docker API's own notation."""

from __future__ import annotations

import datetime
import time

NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time: what has not happened."""


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 with nanoseconds, in UTC; NEVER for 0."""
    if not seconds:
        return NEVER
    whole, fraction = divmod(round(seconds * 1e9), 1_000_000_000)
    moment = datetime.datetime.fromtimestamp(whole, datetime.UTC)
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{digits}Z"


def moment(text: str) -> float | None:
    """A point in time as `since` and `until` have it: seconds with a fraction, or RFC 3339. None for "" and 0. ValueError."""
    if not text or text == "0":
        return None
    try:
        return float(text)
    except ValueError:
        return datetime.datetime.fromisoformat(text).timestamp()


def now() -> float:
    return time.time()
