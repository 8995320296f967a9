"""Signals by name or number, as in stop_signal and `kill -s` (signal(7))."""

from __future__ import annotations

import signal

from engine.errors import InvalidSpec


def number(text: str) -> int:
    """ "SIGTERM", "term", "15", "RTMIN+3" → the number. Raises InvalidSpec."""
    name = text.strip().upper().removeprefix("SIG")
    if name.isdecimal() and 0 < int(name) <= 64:
        return int(name)
    base, sign, offset = name.replace("-", "+-").partition("+")
    found = getattr(signal, f"SIG{base}", None)
    if isinstance(found, signal.Signals) and (
        not sign or (base in ("RTMIN", "RTMAX") and offset.lstrip("-").isdecimal())
    ):
        wanted = int(found) + (int(offset) if sign else 0)
        if 0 < wanted <= 64:
            return wanted
    raise InvalidSpec(f"{text!r} is not a valid signal")
