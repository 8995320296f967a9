"""What a string becomes where a compose file wants a number or a boolean: the types after interpolation."""

from __future__ import annotations

import struct


class CastError(ValueError):
    """The text is not of the wanted type; the message says what it is and what is wanted."""


_YES = {"true": True, "false": False, "y": True, "yes": True, "on": True, "n": False, "no": False, "off": False}
_DIGITS = frozenset("0123456789")


def boolean(text: str) -> bool:
    """true and false, and the y, yes, on, n, no and off of YAML 1.1."""
    try:
        return _YES[text.lower()]
    except KeyError:
        raise CastError(f"invalid boolean: {text!r} (true or false)") from None


def integer(text: str) -> int:
    """A decimal number of 64 bits."""
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
    """The number as a 32-bit float keeps it, in its shortest decimal form."""
    try:
        kept = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        raise CastError(f"{value!r} is out of range") from None
    for digits in range(1, 10):
        short = float(f"{kept:.{digits}g}")
        if struct.unpack("<f", struct.pack("<f", short))[0] == kept:
            return short
    return float(kept)
