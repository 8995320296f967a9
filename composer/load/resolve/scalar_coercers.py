"""Coercers of scalars: text, flags, numbers, sizes, durations."""

from __future__ import annotations

from composer.load.read import casts
from composer.load.resolve.coercion import OMITTED, CoercionError, shown
from composer.load.tree.text import text_of
from engine import quantities

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from typing import Any


def text(value: Any) -> Any:
    return string(value) or OMITTED


def kept_text(value: Any) -> Any:
    """Written even when it is empty."""
    return string(value)


def string(value: Any) -> str:
    if value.__class__ is str:
        return value
    if value is None:
        return ""
    if value.__class__ is int:
        return str(value)
    raise CoercionError(f"expected a string, found {shown(value)}")


def flag(value: Any) -> Any:
    return always_flag(value) or OMITTED


def kept_flag(value: Any) -> Any:
    return OMITTED if value is None else always_flag(value)


def flag_true_by_default(value: Any) -> Any:
    """A flag whose default is true: a canonical file contains it only if it is false."""
    return OMITTED if value is None or always_flag(value) else False


def always_flag(value: Any) -> bool:
    if value.__class__ is bool or value is None:
        return bool(value)
    if value.__class__ is str:
        try:
            return casts.boolean(value)
        except casts.CastError as error:
            raise CoercionError(str(error)) from None
    raise CoercionError(f"expected true or false, found {shown(value)}")


def integer(value: Any) -> Any:
    return always_integer(value) or OMITTED


def kept_integer(value: Any) -> Any:
    return OMITTED if value is None else always_integer(value)


def natural(value: Any) -> Any:
    return _natural(value) or OMITTED


def kept_natural(value: Any) -> Any:
    return OMITTED if value is None else _natural(value)


def _natural(value: Any) -> int:
    number = always_integer(value)
    if number < 0:
        raise CoercionError(f"must not be negative (uint64), found {number}")
    return number


def kept_weight(value: Any) -> Any:
    """A number of 16 bits, written even when it is zero."""
    return _unsigned(value, "uint16")


def weight(value: Any) -> Any:
    return kept_weight(value) or OMITTED


def permissions(value: Any) -> Any:
    """A mode as a number."""
    return _unsigned(value, "uint32") or OMITTED


def _unsigned(value: Any, word: str) -> int:
    """A number; text is not accepted."""
    if isinstance(value, str):
        raise CoercionError(f"expected a number ({word}), found the string {shown(value)}")
    number = always_integer(value)
    if number < 0:
        raise CoercionError(f"must not be negative ({word}), found {number}")
    return number


def always_integer(value: Any) -> int:
    if value.__class__ is int:
        return value
    if value is None:
        return 0
    if value.__class__ is float and value - value == 0:
        return int(value)
    if value.__class__ is str:
        try:
            return casts.integer(value)
        except casts.CastError as error:
            raise CoercionError(str(error)) from None
    raise CoercionError(f"expected an integer, found {shown(value)}")


def ratio(value: Any) -> Any:
    """A number with the precision of a 32-bit float, as an integer if its fraction is zero."""
    if value is None:
        return OMITTED
    if value.__class__ is bool or isinstance(value, (dict, list)):
        raise CoercionError(f"expected a number, found {shown(value)}")
    try:
        number = casts.single(casts.number(value) if value.__class__ is str else float(value))
    except (casts.CastError, OverflowError) as error:
        raise CoercionError(str(error)) from None
    if number != number or number - number != 0:
        raise CoercionError(f"expected a number, found {shown(value)}")
    return (int(number) if number == int(number) else number) or OMITTED


def size(value: Any) -> Any:
    """Bytes, as text."""
    found = kept_size(value)
    return OMITTED if found == "0" else found


def kept_size(value: Any) -> Any:
    if value.__class__ is str:
        try:
            number = quantities.size(value)
        except quantities.QuantityError as error:
            raise CoercionError(str(error)) from None
    else:
        number = value if value.__class__ is int else 0
    return str(number)


def duration(value: Any) -> Any:
    return quantities.duration(number) if (number := _duration(value)) else OMITTED


def kept_duration(value: Any) -> Any:
    return OMITTED if value is None else quantities.duration(_duration(value))


def _duration(value: Any) -> int:
    if value is None:
        return 0
    try:
        return quantities.nanoseconds(text_of(value))
    except quantities.QuantityError as error:
        raise CoercionError(str(error)) from None


def mode(value: Any) -> Any:
    """A file's permission bits: an octal text, or a number."""
    if value is None:
        return OMITTED
    if value.__class__ is str:
        if not value or value.strip("01234567") or len(value) > 20:
            raise CoercionError(f"expected an octal mode, found {value!r}")
        return f"0{int(value, 8):o}"
    if value.__class__ is int:
        return f"0{value:o}"
    raise CoercionError(f"expected an octal mode, found {shown(value)}")


def count(value: Any) -> Any:
    """How many devices; -1 is all of them."""
    if isinstance(value, str) and value.lower() == "all":
        return -1
    if isinstance(value, float):
        raise CoercionError(f"expected 'all' or a number, found {value}")
    try:
        return integer(value)
    except CoercionError as error:
        raise CoercionError(f"{error}; 'all' or a number is allowed") from None
