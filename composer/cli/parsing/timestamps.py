"""Times of --since and --until, as in docker: integer nanoseconds, without loss of precision."""

from __future__ import annotations

import datetime
import re
import time
from contextlib import suppress

from composer.cli.errors import UsageError
from engine.quantities import GO, QuantityError, nanoseconds

SECOND = 1_000_000_000
_FRACTION = re.compile(r"(?<=:\d\d)\.(\d+)")


def parse_timestamp(text: str, *, now: int | None = None) -> int:
    """Nanoseconds since the epoch for `42m` (that long ago), `2013-01-02T13:23:37.123456789Z`, a date, or a Unix timestamp.

    A time without a zone is local. UsageError for anything else.
    """
    if match := re.fullmatch(r"(\d+)(?:\.(\d+))?", text):
        return int(match[1]) * SECOND + _nanoseconds(match[2])
    with suppress(QuantityError):
        return (time.time_ns() if now is None else now) - nanoseconds(text, GO)
    fraction = _FRACTION.search(text)
    try:
        whole = datetime.datetime.fromisoformat(_FRACTION.sub("", text)).timestamp()
    except (ValueError, OverflowError):
        raise UsageError(
            f'invalid time "{text}": expected a duration (42m), a timestamp (2013-01-02T13:23:37Z) or seconds since 1970'
        ) from None
    return int(whole) * SECOND + _nanoseconds(fraction and fraction[1])


def _nanoseconds(fraction: str | None) -> int:
    return int((fraction or "").ljust(9, "0")[:9])
