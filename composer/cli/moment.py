"""Points in time as --since and --until take them, like docker's."""

from __future__ import annotations

import datetime
import re
import time

from composer.cli.errors import UsageError

UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)")


def parse_moment(text: str, *, now: float | None = None) -> float:
    """Seconds since the epoch for `42m` (that long ago), `2013-01-02T13:23:37Z`, a date, or a Unix timestamp.

    A time without a zone is local. UsageError for anything else.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    rest = text.removeprefix("-")
    if rest and DURATION.sub("", rest) == "":
        ago = sum(_seconds(part) for part in DURATION.findall(rest))
        return (time.time() if now is None else now) - (-ago if text.startswith("-") else ago)
    cut = re.sub(r"(\.\d{6})\d+", r"\1", text)
    try:
        return datetime.datetime.fromisoformat(cut).timestamp()
    except ValueError:
        raise UsageError(
            f'invalid time "{text}": expected a duration (42m), a timestamp (2013-01-02T13:23:37Z) or seconds since 1970'
        ) from None


def _seconds(part: str) -> float:
    unit = part.lstrip("0123456789.")
    return float(part[: -len(unit)]) * UNITS[unit]
