"""Quantities as the specification writes them: bytes ("1g"), durations ("1m30s"), file modes ("0440").

Both forms are read: what a user writes and what Docker Compose's `config` prints ("1073741824", "1m30s", "0440").
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

from engine.quantities import QuantityError, nanoseconds, size


def parse_bytes(value: object) -> int:
    """1073741824 for "1g", "1gb", "1GiB", "1073741824"; -1 stays -1. Raises ValueError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float):
        return int(value)
    text = value.strip() if isinstance(value, str) else ""
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    try:
        return size(text)
    except QuantityError:
        raise ValueError(
            f"{value!r} is not a valid size: give bytes, or a number with the unit b, k, m, g or t, like 64m"
        ) from None


def parse_duration(value: object) -> float:
    """90.0 for "1m30s". As in Go, a number without a unit is invalid, except 0. Raises ValueError for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    text = value.strip() if isinstance(value, str) else ""
    try:
        return nanoseconds(text) / 1e9
    except QuantityError:
        raise ValueError(
            f"{value!r} is not a valid duration: give numbers with the units us, ms, s, m, h, d or w, like 1m30s"
        ) from None


def parse_mode(value: object) -> int:
    """0o440 for "0440" and for the number 288. Raises ValueError for an invalid file mode."""
    if isinstance(value, int) and not isinstance(value, bool):
        mode = value
    else:
        text = value.strip().removeprefix("0o") if isinstance(value, str) else ""
        if not re.fullmatch(r"[0-7]+", text):
            raise ValueError(f"{value!r} is not a valid file mode: give octal digits, like 0440")
        mode = int(text, 8)
    if not 0 <= mode <= 0o7777:
        raise ValueError(f"{value!r} is not a valid file mode: it is larger than 07777")
    return mode


Bytes = Annotated[int, BeforeValidator(parse_bytes)]
Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds."""
Mode = Annotated[int, BeforeValidator(parse_mode)]
