"""Conversions of interpolated strings where a compose file needs a number or a boolean."""

from __future__ import annotations

import struct


class CastError(ValueError):
    """The text cannot be converted; the message has the text and the expected type."""


_YES = {"true": True, "false": False, "y": True, "yes": True, "on": True, "n": False, "no": False, "off": False}
_DIGITS = frozenset("0123456789")


def boolean(text: str) -> bool:
    """A boolean: true, false, and YAML 1.1's y, yes, on, n, no and off."""
    try:
        return _YES[text.lower()]
    except KeyError:
        raise CastError(f"invalid boolean: {text!r} (true or false)") from None


def integer(text: str) -> int:
    """A signed 64-bit integer in decimal."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if digits and len(digits) < 20 and _DIGITS.issuperset(digits):
        value = int(text)
        if -(2**63) <= value < 2**63:
            return value
        raise CastError(f"{text!r} is out of range for an integer")
    raise CastError(f"invalid integer: {text!r}")


def number(text: str) -> float:
    """A decimal number with or without a fraction."""
    try:
        if text and text == text.strip():
            return float(text.replace("_", "x"))
    except ValueError:
        pass
    raise CastError(f"invalid number: {text!r}")


def single(value: float) -> float:
    """The number rounded to a 32-bit float, as the shortest decimal that means it."""
    try:
        kept = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        raise CastError(f"{value!r} is out of range") from None
    for digits in range(1, 10):
        short = float(f"{kept:.{digits}g}")
        if struct.unpack("<f", struct.pack("<f", short))[0] == kept:
            return short
    return float(kept)
