"""Coercers of lists and mappings."""

from __future__ import annotations

from composer.load.resolve.coercion import OMITTED, CoercionError, Name, shown, together
from composer.load.resolve.command_line import words
from composer.load.resolve.errors import ShortFormError
from composer.load.resolve.scalar_coercers import always_integer, string
from composer.load.tree.nodes import Fields, Map, Sequence
from composer.load.tree.text import text_of

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from composer.load.resolve.coercion import Coercer

# ---- lists of text


def texts(value: Any) -> Any:
    if value is None or value == []:
        return OMITTED
    if not isinstance(value, list):
        if isinstance(value, dict):
            raise CoercionError("expected a list, found a mapping")
        value = Sequence([value])
    return _each(value, string)


def numbers_or_texts(value: Any) -> Any:
    if value is None or value == []:
        return OMITTED
    if isinstance(value, str):
        return Sequence([value])
    return _each(value, text_of)


def command(value: Any) -> Any:
    """A command line as its words. An unset one is null, unlike one without words."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            return Sequence(words(value))
        except ShortFormError as error:
            raise CoercionError(str(error)) from None
    return _each(value, string)


def test(value: Any) -> Any:
    """A health check's command."""
    if value is None:
        return OMITTED
    if isinstance(value, str):
        return Sequence(["CMD-SHELL", value])
    return _each(value, string) if value else OMITTED


def _each(value: Any, coerce: Callable[[Any], Any]) -> Sequence:
    found = Sequence()
    found.origins = getattr(value, "origins", None) or [None] * len(value)
    for index, item in enumerate(value):
        try:
            list.append(found, coerce(item))
        except CoercionError as error:
            raise error.below(index) from None
    return found


# ---- mappings of text


def variables(value: Any) -> Any:
    """key=value, or only a key, whose value is null."""
    if not value:
        return OMITTED
    if isinstance(value, dict):
        return _sorted(value, lambda entry: None if entry is None else text_of(entry))
    found: dict[str, str | None] = {}
    origins = {}
    for index, item in enumerate(value):
        key, equals, entry = text_of(item).partition("=")
        if key[-1:].isspace():
            raise CoercionError(f"environment variable {key} is declared with a trailing space", (index,))
        found[key] = entry if equals else None
        origins[key] = _place(value, index)
    return _arranged(found, origins)


def labels(value: Any) -> Any:
    """key=value, or only a key, whose value is empty."""
    if not value:
        return OMITTED
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
        return OMITTED
    if not isinstance(value, dict):
        raise CoercionError(f"expected a mapping, found {shown(value)}")
    return labels(value)


def strings(value: Any) -> Any:
    """A mapping to text, not to numbers."""
    if not value:
        return OMITTED
    if not isinstance(value, dict):
        raise CoercionError(f"expected a mapping, found {shown(value)}")
    return _sorted(value, string)


def repeated(value: Any) -> Any:
    """Options that may be given more than once."""
    if not value:
        return OMITTED
    if not isinstance(value, dict):
        raise CoercionError(f"expected a mapping, found {shown(value)}")
    return _sorted(
        value,
        lambda entry: Sequence([text_of(item) for item in entry] if isinstance(entry, list) else [text_of(entry)]),
    )


def hosts(value: Any) -> Any:
    """host=address, sorted; addresses without brackets."""
    if not value:
        return OMITTED
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
                raise CoercionError(f"invalid additional host, missing IP: {line}", (index,))
            found += [_host(host, address) for address in addresses.split(",")]
    return Sequence(sorted(found))


def _host(host: str, address: str) -> str:
    if not host or ":" in host or "=" in host:
        raise CoercionError(f"bad host name {host!r}")
    if len(address) > 2 and address[0] == "[" and address[-1] == "]":
        address = address[1:-1]
    return f"{host}={address}"


def ssh(value: Any) -> Any:
    if not value:
        return OMITTED
    return Sequence(
        [key if entry is None or entry == "" else f"{key}={text_of(entry)}" for key, entry in value.items()]
    )


def limit(value: Any) -> Any:
    """A ulimit: one number, or a soft and a hard one."""
    if isinstance(value, dict):
        found = Fields({key: always_integer(value[key]) for key in ("soft", "hard") if value.get(key)})
        found.origins = value.origins  # type: ignore[attr-defined]
        return found
    return always_integer(value) or Fields()


def limits(value: Any) -> Any:
    """Ulimits by name, without the user's x-… keys."""
    if isinstance(value, dict) and any(key.startswith("x-") for key in value):
        value = {key: entry for key, entry in value.items() if not key.startswith("x-")}
    return by_name(limit)(value)


# ---- structures


class Struct:
    """A mapping with known keys: the coercers of its values, in canonical order, then the user's x-… keys.

    `always` are keys whose coercer is applied to None if the key is missing.
    """

    def __init__(
        self, fields: dict[str, Coercer], always: tuple[str, ...] = (), named: dict[str, str] | None = None
    ) -> None:
        self.fields, self.always = fields, always
        self.rank = {key: rank for rank, key in enumerate(fields)}
        self.named = named

    def __call__(self, value: Any) -> Any:
        if value is None:
            value = Map()
        if not isinstance(value, dict):
            raise CoercionError(f"expected a mapping, found {shown(value)}")
        fields, rank = self.fields, self.rank
        keys = [key for key in value if key in rank]
        theirs = sorted(key for key in value if key.startswith("x-")) if len(keys) < len(value) else ()
        keys += [key for key in self.always if key not in value]
        keys.sort(key=rank.__getitem__)
        found = Fields()
        found.origins = getattr(value, "origins", {})
        wrong: list[CoercionError] = []
        for key in keys:
            try:
                entry = fields[key](value.get(key))
            except CoercionError as error:
                wrong += error.below(key).all()
                continue
            if entry is not OMITTED:
                found[key if self.named is None else self.named[key]] = entry
        if wrong:
            raise together(wrong)
        for key in theirs:
            found[key] = value[key]
        return found

    def arrange(self, fields: Fields) -> None:
        """Sort the keys into canonical order, after some were added."""
        for key in sorted(fields, key=lambda key: self.rank.get(key, len(self.rank))):
            fields[key] = fields.pop(key)


def optional(coerce: Coercer) -> Coercer:
    """Left out when it is null."""
    return lambda value: OMITTED if value is None else coerce(value)


def each(coerce: Coercer) -> Coercer:
    """A list of it, left out when empty."""

    def listed(value: Any) -> Any:
        if not value:
            return OMITTED
        if not isinstance(value, list):
            raise CoercionError(f"expected a list, found {shown(value)}")
        return _each(value, coerce)

    return listed


def by_name(coerce: Coercer, *, nullable: bool = False) -> Coercer:
    """A mapping of names to it, left out when empty; with `nullable`, null stays null."""

    def named(value: Any) -> Any:
        if not value:
            return OMITTED
        if not isinstance(value, dict):
            raise CoercionError(f"expected a mapping, found {shown(value)}")
        return _sorted(value, (lambda entry: None if entry is None else coerce(entry)) if nullable else coerce)

    return named


def _sorted(value: Any, coerce: Callable[[Any], Any]) -> Map:
    found = Map()
    found.origins = getattr(value, "origins", {})
    for key in sorted(value):
        try:
            found[key] = coerce(value[key])
        except CoercionError as error:
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
