"""Times as RFC 3339 writes them, in UTC."""

from __future__ import annotations

import time

_SECOND = 1_000_000_000


def seconds(timestamp: float) -> str:
    """Without a fraction; `timestamp` in seconds since the epoch."""
    return f"{_date_and_time(timestamp)}Z"


def nine_digits(nanoseconds: int) -> str:
    """With all nine digits of the fraction, as in logs."""
    whole, fraction = divmod(nanoseconds, _SECOND)
    return f"{_date_and_time(whole)}.{fraction:09d}Z"


def shortest(nanoseconds: int) -> str:
    """Without trailing zeros in the fraction (Go's time.RFC3339Nano)."""
    whole, fraction = divmod(nanoseconds, _SECOND)
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{_date_and_time(whole)}{digits}Z"


def _date_and_time(timestamp: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(timestamp))
