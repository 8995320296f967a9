"""Plain YAML scalars as Compose reads them: booleans and nulls of YAML 1.2, numbers of 1.1 and 1.2."""

from __future__ import annotations

import re

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from composer.load.tree.nodes import Scalar

WORDS: dict[str, Scalar] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
    ".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan"),
    ".inf": float("inf"), ".Inf": float("inf"), ".INF": float("inf"),
    "+.inf": float("inf"), "+.Inf": float("inf"), "+.INF": float("inf"),
    "-.inf": float("-inf"), "-.Inf": float("-inf"), "-.INF": float("-inf"),
}  # fmt: skip

_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|[1-9][0-9]*|0)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})(?:(?:[Tt ])(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d+))?(Z|[-+]\d{2}:\d{2})?)?\Z",
    re.ASCII,
)
_BASES = {"x": 16, "b": 2, "o": 8}


def plain(text: str) -> Scalar:
    """The value of a scalar without quotes or tag."""
    first = text[:1]
    if first in "0123456789+-.":
        if text in WORDS:
            return WORDS[text]
        number = _number(text.replace("_", "") if "_" in text else text)
        return text if number is None else number
    return WORDS.get(text, text)


def _number(text: str) -> int | float | None:
    if _INTEGER.match(text) and (value := _integer(text)) is not None:
        return value
    if _FLOAT.match(text):
        number = float(text)
        return number if number - number == 0 else None  # too large for a float: a string
    return None


def _integer(text: str) -> int | None:
    """The integer, if it fits into 64 bits."""
    digits = text.lstrip("+-")
    if len(digits) > 1 and digits[0] == "0":
        base = _BASES.get(digits[1].lower(), 8)
        digits = digits[2:] if digits[1].isalpha() else digits
    else:
        base = 10
    if len(digits.lstrip("0")) > 64:
        return None
    value = int(digits, base)
    value = -value if text[0] == "-" else value
    return value if -(2**63) <= value < 2**64 else None


def timestamp(text: str) -> str:
    """The plain scalar as Compose prints a date (Go's time.Time.String); "" if it does not read it as one."""
    match = _TIMESTAMP.match(text)
    # A zone follows after a T only, and must follow there.
    if match is None or (match[4] and (text[match.end(3)] == " ") != (match[8] is None)):
        return ""
    import datetime  # late: few values are dates

    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    try:
        moment = datetime.datetime(year, month, day, hour, minute, second)
    except ValueError:
        return ""
    fraction = (match[7] or "")[:9].rstrip("0")
    zone = (match[8] or "Z").replace(":", "").replace("Z", "+0000")
    name = "UTC" if zone[1:] == "0000" else zone
    return f"{moment.isoformat(' ')}{'.' * bool(fraction)}{fraction} {zone} {name}"
