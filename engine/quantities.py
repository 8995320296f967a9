"""Sizes and durations, as compose files, Dockerfiles, flags and log options write them; the one parser of each."""

from __future__ import annotations

import re

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
# Compiled on first use: compiling them takes longer than the rest of most commands.
_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_SUFFIX = r"(?:b|([kmgtp])(?:b|ib)?)?"

_NANOSECONDS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9,
    "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9, "w": 7 * 86400 * 10**9,
}  # fmt: skip
COMPOSE = tuple(_NANOSECONDS)
"""The units of compose files."""
GO = COMPOSE[:-2]
"""The units of Go's time.ParseDuration: no days and weeks."""

_WORDS = tuple(
    (word, short)
    for short, words in {
        "s": "s sec secs second seconds", "m": "m min mins minute minutes", "h": "h hr hrs hour hours", "d": "d day days",
        "w": "w week weeks", "ms": "ms msec millis millisecond milliseconds",
    }.items()
    for word in words.split()
)  # fmt: skip
"""Common spellings of units."""
_TERM = r"([0-9]*)(?:\.([0-9]*))?([^0-9.]+)"


class QuantityError(ValueError):
    """The text is not a quantity; the message says why."""


def size(text: str) -> int:
    """Bytes: 1073741824, 64k, 1.5g, 512 MB; powers of 1024."""
    number, space, suffix = text.partition(" ")
    if not space:
        last = max(text.rfind(digit) for digit in "0123456789.")
        number, suffix = text[: last + 1], text[last + 1 :]
    if not re.fullmatch(_NUMBER, number):
        raise QuantityError(f"invalid size: {text!r} (such as 64k, 512m, 1.5gb)")
    match = re.fullmatch(_SUFFIX, suffix.lower())
    if match is None:
        raise QuantityError(f"invalid suffix of size: {text!r} (b, k, m, g, t or p)")
    value = float(number) * _UNITS[match[1] or ""]
    if value < 0 or value >= 2**63:
        raise QuantityError(f"size out of range: {text!r}")
    return int(value)


def nanoseconds(text: str, units: tuple[str, ...] = COMPOSE) -> int:
    """A duration: 1m30s, 1.5h, 300ms, 2d, 1w, 0. `units` are the accepted ones."""
    rest = text[1:] if text[:1] in ("-", "+") else text
    sign = -1 if text[:1] == "-" else 1
    if rest == "0":
        return 0
    total, position = 0, 0
    while position < len(rest) or not rest:
        term = re.compile(_TERM).match(rest, position)
        if term is None or not (term[1] or term[2]):
            if rest[position:].strip("0123456789.") == "" and rest:
                raise QuantityError(f"missing unit in duration {text!r}: did you mean {text}s?")
            raise QuantityError(f"invalid duration {text!r} (such as 10s, 1m30s)")
        unit = _NANOSECONDS.get(term[3])
        if unit is None or term[3] not in units:
            word = term[3].strip().lower()
            near = next(
                (f": did you mean {text[: -len(term[3])]}{short}?" for name, short in _WORDS if name == word), ""
            )
            known = (
                near if near and term.end() == len(rest) else f" ({', '.join(one for one in units if one.isascii())})"
            )
            raise QuantityError(f"unknown unit {term[3]!r} in duration {text!r}{known}")
        if len(term[1]) > 19 or len(term[2] or "") > 400:
            raise QuantityError(f"duration out of range: {text!r}")
        total += int(term[1] or "0") * unit
        if term[2]:
            total += (
                int(float(f"0.{term[2]}") * unit + 1e-9)
                if len(term[2]) > 15
                else int(term[2]) * unit // 10 ** len(term[2])
            )
        if total >= 2**63:
            raise QuantityError(f"duration out of range: {text!r}")
        position = term.end()
    return sign * total


def duration(value: int) -> str:
    """Nanoseconds as canonical files have them: 1h30m0s, 1m30s, 10s, 1.5s, 300ms."""
    if not value:
        return "0s"
    sign, value = ("-", -value) if value < 0 else ("", value)
    if value < 10**9:
        for unit, name in ((10**6, "ms"), (10**3, "µs"), (1, "ns")):
            if value >= unit:
                return f"{sign}{_fraction(value, unit)}{name}"
    seconds, nano = divmod(value, 10**9)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{_fraction(seconds * 10**9 + nano, 10**9)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{sign}{hours}h{text}" if hours else f"{sign}{text}"


def _fraction(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    return f"{whole}.{str(unit + rest)[1:].rstrip('0')}"
