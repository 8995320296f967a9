"""What a value of the specification may be written as, and what a canonical file has for it.

A kind is a function from what was written to its canonical form; NOTHING when the canonical file leaves it out. KindError
when it cannot be that.
"""

from __future__ import annotations

from composer.load.read import casts
from composer.load.resolve import short
from composer.load.tree.nodes import Fields, Map, Sequence
from composer.load.tree.text import text_of
from engine import quantities

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from composer.load.tree.nodes import Path

    Kind = Callable[[Any], Any]


class _Nothing:
    """The canonical file does not have it."""


NOTHING: Any = _Nothing()


class Name(str):
    """A step of an error's path that the user chose: `depends_on[db]`, not `depends_on.db`."""

    __slots__ = ()


class KindError(ValueError):
    """The value is not of its kind. `path` leads from where it is caught to the value. `more` are others beside it."""

    def __init__(self, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.path = path
        self.more: list[KindError] = []

    def all(self) -> list[KindError]:
        """This one and those beside it."""
        return [self, *self.more]

    def below(self, key: str | int) -> KindError:
        """The same, as seen from the container that has the value as `key`."""
        for error in self.all():
            error.path = (key, *error.path)
        return self


def together(errors: list[KindError]) -> KindError:
    """Several as one to raise."""
    first, *others = errors
    first.more = others
    return first


# ---- scalars


def text(value: Any) -> Any:
    return _string(value) or NOTHING


def kept_text(value: Any) -> Any:
    """Written even when it is empty."""
    return _string(value)


def _string(value: Any) -> str:
    if value.__class__ is str:
        return value
    if value is None:
        return ""
    if value.__class__ is int:
        return str(value)
    raise KindError(f"expected a string, found {_shown(value)}")


def flag(value: Any) -> Any:
    return _boolean(value) or NOTHING


def kept_flag(value: Any) -> Any:
    return NOTHING if value is None else _boolean(value)


def true_unless_said(value: Any) -> Any:
    """A flag whose default is true: a canonical file only has it when it is false."""
    return NOTHING if value is None or _boolean(value) else False


def always_flag(value: Any) -> Any:
    return _boolean(value)


def _boolean(value: Any) -> bool:
    if value.__class__ is bool or value is None:
        return bool(value)
    if value.__class__ is str:
        try:
            return casts.boolean(value)
        except casts.CastError as error:
            raise KindError(str(error)) from None
    raise KindError(f"expected true or false, found {_shown(value)}")


def integer(value: Any) -> Any:
    return _integer(value) or NOTHING


def kept_integer(value: Any) -> Any:
    return NOTHING if value is None else _integer(value)


def always_integer(value: Any) -> Any:
    return _integer(value)


def natural(value: Any) -> Any:
    return _natural(value) or NOTHING


def kept_natural(value: Any) -> Any:
    return NOTHING if value is None else _natural(value)


def _natural(value: Any) -> int:
    number = _integer(value)
    if number < 0:
        raise KindError(f"must not be negative (uint64), found {number}")
    return number


def kept_weight(value: Any) -> Any:
    """A number of 16 bits, written even when it is zero."""
    return _unsigned(value, "uint16")


def weight(value: Any) -> Any:
    return kept_weight(value) or NOTHING


def permissions(value: Any) -> Any:
    """A mode as a number."""
    return _unsigned(value, "uint32") or NOTHING


def _unsigned(value: Any, word: str) -> int:
    """A number that text is not taken for."""
    if isinstance(value, str):
        raise KindError(f"expected a number ({word}), found the string {_shown(value)}")
    number = _integer(value)
    if number < 0:
        raise KindError(f"must not be negative ({word}), found {number}")
    return number


def _integer(value: Any) -> int:
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
            raise KindError(str(error)) from None
    raise KindError(f"expected an integer, found {_shown(value)}")


def ratio(value: Any) -> Any:
    """A number kept with the precision of 32 bits; without its fraction when that is zero."""
    if value is None:
        return NOTHING
    if value.__class__ is bool or isinstance(value, (dict, list)):
        raise KindError(f"expected a number, found {_shown(value)}")
    try:
        number = casts.single(casts.number(value) if value.__class__ is str else float(value))
    except (casts.CastError, OverflowError) as error:
        raise KindError(str(error)) from None
    if number != number or number - number != 0:
        raise KindError(f"expected a number, found {_shown(value)}")
    return (int(number) if number == int(number) else number) or NOTHING


def size(value: Any) -> Any:
    """Bytes, as text."""
    found = kept_size(value)
    return NOTHING if found == "0" else found


def kept_size(value: Any) -> Any:
    if value.__class__ is str:
        try:
            number = quantities.size(value)
        except quantities.QuantityError as error:
            raise KindError(str(error)) from None
    else:
        number = value if value.__class__ is int else 0
    return str(number)


def duration(value: Any) -> Any:
    return quantities.duration(number) if (number := _duration(value)) else NOTHING


def kept_duration(value: Any) -> Any:
    return NOTHING if value is None else quantities.duration(_duration(value))


def _duration(value: Any) -> int:
    if value is None:
        return 0
    try:
        return quantities.nanoseconds(text_of(value))
    except quantities.QuantityError as error:
        raise KindError(str(error)) from None


def mode(value: Any) -> Any:
    """A file's permission bits: an octal text, or a number."""
    if value is None:
        return NOTHING
    if value.__class__ is str:
        if not value or value.strip("01234567") or len(value) > 20:
            raise KindError(f"expected an octal mode, found {value!r}")
        return f"0{int(value, 8):o}"
    if value.__class__ is int:
        return f"0{value:o}"
    raise KindError(f"expected an octal mode, found {_shown(value)}")


def count(value: Any) -> Any:
    """How many devices; -1 is all of them."""
    if isinstance(value, str) and value.lower() == "all":
        return -1
    if isinstance(value, float):
        raise KindError(f"expected 'all' or a number, found {value}")
    try:
        return integer(value)
    except KindError as error:
        raise KindError(f"{error}; 'all' or a number is allowed") from None


# ---- lists of text


def texts(value: Any) -> Any:
    if value is None or value == []:
        return NOTHING
    if not isinstance(value, list):
        if isinstance(value, dict):
            raise KindError("expected a list, found a mapping")
        value = Sequence([value])
    return _each(value, _string)


def numbers_or_texts(value: Any) -> Any:
    if value is None or value == []:
        return NOTHING
    if isinstance(value, str):
        return Sequence([value])
    return _each(value, text_of)


def command(value: Any) -> Any:
    """A command line as its words. Nothing is null, which is not the same as no words."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            return Sequence(short.words(value))
        except short.ShortFormError as error:
            raise KindError(str(error)) from None
    return _each(value, _string)


def test(value: Any) -> Any:
    """A health check's command."""
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return Sequence(["CMD-SHELL", value])
    return _each(value, _string) if value else NOTHING


def _each(value: Any, kind: Callable[[Any], Any]) -> Sequence:
    found = Sequence()
    found.origins = getattr(value, "origins", None) or [None] * len(value)
    for index, item in enumerate(value):
        try:
            list.append(found, kind(item))
        except KindError as error:
            raise error.below(index) from None
    return found


# ---- mappings of text


def variables(value: Any) -> Any:
    """key=value, or only a key, whose value is null."""
    if not value:
        return NOTHING
    if isinstance(value, dict):
        return _sorted(value, lambda entry: None if entry is None else text_of(entry))
    found: dict[str, str | None] = {}
    origins = {}
    for index, item in enumerate(value):
        key, equals, entry = text_of(item).partition("=")
        if key[-1:].isspace():
            raise KindError(f"environment variable {key} is declared with a trailing space", (index,))
        found[key] = entry if equals else None
        origins[key] = _place(value, index)
    return _arranged(found, origins)


def labels(value: Any) -> Any:
    """key=value, or only a key, whose value is empty."""
    if not value:
        return NOTHING
    if isinstance(value, dict):
        return _sorted(value, lambda entry: "" if entry is None else text_of(entry))
    found: dict[str, str] = {}
    origins = {}
    for index, item in enumerate(value):
        key, _, entry = text_of(item).partition("=")
        found[key] = entry
        origins[key] = _place(value, index)
    return _arranged(found, origins)


def options(value: Any) -> Any:
    if not value:
        return NOTHING
    if not isinstance(value, dict):
        raise KindError(f"expected a mapping, found {_shown(value)}")
    return labels(value)


def strings(value: Any) -> Any:
    """A mapping to text, not to numbers."""
    if not value:
        return NOTHING
    if not isinstance(value, dict):
        raise KindError(f"expected a mapping, found {_shown(value)}")
    return _sorted(value, _string)


def repeated(value: Any) -> Any:
    """Options that may be given more than once."""
    if not value:
        return NOTHING
    if not isinstance(value, dict):
        raise KindError(f"expected a mapping, found {_shown(value)}")
    return _sorted(
        value,
        lambda entry: Sequence([text_of(item) for item in entry] if isinstance(entry, list) else [text_of(entry)]),
    )


def hosts(value: Any) -> Any:
    """host=address, sorted; addresses without brackets."""
    if not value:
        return NOTHING
    found: list[str] = []
    if isinstance(value, dict):
        for host, entry in value.items():
            items = entry if isinstance(entry, list) else ["" if entry is None else entry]
            found += [_host(host, text_of(item)) for item in items]
    else:
        for index, item in enumerate(value):
            line = text_of(item)
            separator = "=" if "=" in line else ":"
            host, found_one, addresses = line.partition(separator)
            if not found_one:
                raise KindError(f"invalid additional host, missing IP: {line}", (index,))
            found += [_host(host, address) for address in addresses.split(",")]
    return Sequence(sorted(found))


def _host(host: str, address: str) -> str:
    if not host or ":" in host or "=" in host:
        raise KindError(f"bad host name {host!r}")
    if len(address) > 2 and address[0] == "[" and address[-1] == "]":
        address = address[1:-1]
    return f"{host}={address}"


def ssh(value: Any) -> Any:
    if not value:
        return NOTHING
    return Sequence(
        [key if entry is None or entry == "" else f"{key}={text_of(entry)}" for key, entry in value.items()]
    )


def limit(value: Any) -> Any:
    """A ulimit: one number, or a soft and a hard one."""
    if isinstance(value, dict):
        found = Fields({key: _integer(value[key]) for key in ("soft", "hard") if value.get(key)})
        found.origins = value.origins  # type: ignore[attr-defined]
        return found
    return _integer(value) or Fields()


def limits(value: Any) -> Any:
    """Ulimits by name; what the user adds for himself is none."""
    if isinstance(value, dict) and any(key.startswith("x-") for key in value):
        value = {key: entry for key, entry in value.items() if not key.startswith("x-")}
    return by_name(limit)(value)


# ---- collections of others


class Struct:
    """A mapping with known keys: their kinds, in the order in which a canonical file has them; then the user's x-… keys.

    `always` are keys with a kind that is applied to None when the key is not there.
    """

    def __init__(
        self, fields: dict[str, Kind], always: tuple[str, ...] = (), named: dict[str, str] | None = None
    ) -> None:
        self.fields, self.always = fields, always
        self.rank = {key: rank for rank, key in enumerate(fields)}
        self.named = named

    def __call__(self, value: Any) -> Any:
        if value is None:
            value = Map()
        if not isinstance(value, dict):
            raise KindError(f"expected a mapping, found {_shown(value)}")
        fields, rank = self.fields, self.rank
        keys = [key for key in value if key in rank]
        theirs = sorted(key for key in value if key.startswith("x-")) if len(keys) < len(value) else ()
        keys += [key for key in self.always if key not in value]
        keys.sort(key=rank.__getitem__)
        found = Fields()
        found.origins = getattr(value, "origins", {})
        wrong: list[KindError] = []
        for key in keys:
            try:
                entry = fields[key](value.get(key))
            except KindError as error:
                wrong += error.below(key).all()
                continue
            if entry is not NOTHING:
                found[key if self.named is None else self.named[key]] = entry
        if wrong:
            raise together(wrong)
        for key in theirs:
            found[key] = value[key]
        return found

    def arrange(self, fields: Fields) -> None:
        """Bring what was added later to its place among the others."""
        for key in sorted(fields, key=lambda key: self.rank.get(key, len(self.rank))):
            fields[key] = fields.pop(key)


def optional(kind: Kind) -> Kind:
    """Left out when it is null."""
    return lambda value: NOTHING if value is None else kind(value)


def each(kind: Kind) -> Kind:
    """A list of it, left out when empty."""

    def listed(value: Any) -> Any:
        if not value:
            return NOTHING
        if not isinstance(value, list):
            raise KindError(f"expected a list, found {_shown(value)}")
        return _each(value, kind)

    return listed


def by_name(kind: Kind, *, nullable: bool = False) -> Kind:
    """A mapping of names to it, left out when empty; with `nullable`, null stays null."""

    def named(value: Any) -> Any:
        if not value:
            return NOTHING
        if not isinstance(value, dict):
            raise KindError(f"expected a mapping, found {_shown(value)}")
        return _sorted(value, (lambda entry: None if entry is None else kind(entry)) if nullable else kind)

    return named


def _sorted(value: Any, kind: Callable[[Any], Any]) -> Map:
    found = Map()
    found.origins = getattr(value, "origins", {})
    for key in sorted(value):
        try:
            found[key] = kind(value[key])
        except KindError as error:
            error.path = (Name(key), *error.path)
            raise
    return found


def _arranged(value: dict[str, Any], origins: dict[str, Any]) -> Map:
    found = Map({key: value[key] for key in sorted(value)})
    found.origins = {key: origin for key, origin in origins.items() if origin is not None}
    return found


def _place(value: Any, index: int) -> Any:
    origins = getattr(value, "origins", None)
    return origins[index] if origins else None


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else repr(value) if isinstance(value, str) else text_of(value)
