"""Quantities as the specification writes them: bytes ("1g"), durations ("1m30s"), file modes ("0440").

Both forms are read: what a user writes and what Docker Compose's `config` prints ("1073741824", "1m30s", "0440").
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator

_BYTES = re.compile(r"(-?\d+(?:\.\d+)?|-?\.\d+)\s*([kmgtpezy]?)(i?b)?", re.IGNORECASE)
_POWERS = {unit: 1024**power for power, unit in enumerate(("", "k", "m", "g", "t", "p"))}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h|d|w)")
_SECONDS = {
    "ns": Fraction(1, 10**9), "us": Fraction(1, 10**6), "µs": Fraction(1, 10**6), "μs": Fraction(1, 10**6),
    "ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600),
    "d": Fraction(86400), "w": Fraction(604800),
}  # fmt: skip


def parse_bytes(value: object) -> int:
    """1073741824 of "1g", "1gb", "1GiB", "1073741824". ValueError for anything else; -1 stays -1."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float):
        return int(value)
    match = _BYTES.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or match[2].lower() not in _POWERS:
        raise ValueError(f"{value!r} is no size: give bytes, or a number with the unit b, k, m, g or t, like 64m")
    return int(Fraction(match[1]) * _POWERS[match[2].lower()])


def parse_duration(value: object) -> float:
    """90.0 of "1m30s". ValueError for anything else. A number alone is refused, except 0, as Go does."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = value.strip() if isinstance(value, str) else ""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0.0
    position, total = 0, Fraction(0)
    while match := _DURATION.match(rest, position):
        total += Fraction(match[1].removesuffix(".")) * _SECONDS[match[2]]
        position = match.end()
    if not rest or position != len(rest):
        raise ValueError(f"{value!r} is no duration: give numbers with the units us, ms, s, m, h, d or w, like 1m30s")
    return float(sign * total)


def parse_mode(value: object) -> int:
    """0o440 of "0440" and of the number 288. ValueError for what is no file mode."""
    if isinstance(value, int) and not isinstance(value, bool):
        mode = value
    else:
        text = value.strip().removeprefix("0o") if isinstance(value, str) else ""
        if not re.fullmatch(r"[0-7]+", text):
            raise ValueError(f"{value!r} is no file mode: give octal digits, like 0440")
        mode = int(text, 8)
    if not 0 <= mode <= 0o7777:
        raise ValueError(f"{value!r} is no file mode: it is larger than 07777")
    return mode


def _optional(parse: Any) -> Any:
    return lambda value: None if value is None else parse(value)


Bytes = Annotated[int, BeforeValidator(parse_bytes)]
Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds."""
Mode = Annotated[int, BeforeValidator(parse_mode)]
