"""Durations and sizes as docker prints them (docker ps, docker images, docker stats)."""

from __future__ import annotations

DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
MINUTE, HOUR, DAY = 60, 3600, 86400


def human_duration(seconds: float) -> str:
    """`Less than a second`, `3 seconds`, `About a minute`, `2 hours`, `5 days` …"""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < MINUTE:
        return f"{whole} seconds"
    minutes = whole // MINUTE
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / HOUR + 0.5)
    if hours == 1:
        return "About an hour"
    for limit, divisor, unit in ((48, 1, "hours"), (24 * 14, 24, "days"), (24 * 60, 24 * 7, "weeks")):
        if hours < limit:
            return f"{hours // divisor} {unit}"
    days = hours // 24
    return f"{days // 30} months" if days < 730 else f"{days // 365} years"


def human_size(size: float, precision: int = 3) -> str:
    """Powers of 1000, `precision` significant digits: 1.99MB."""
    return _scaled(size, 1000, DECIMAL, precision)


def bytes_size(size: float) -> str:
    """Powers of 1024, four significant digits: 23.54GiB."""
    return _scaled(size, 1024, BINARY, 4)


def _scaled(size: float, base: int, units: tuple[str, ...], precision: int) -> str:
    index = 0
    while size >= base and index < len(units) - 1:
        size /= base
        index += 1
    return f"{size:.{precision}g}{units[index]}"
