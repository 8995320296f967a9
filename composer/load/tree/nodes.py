"""The tree of a compose file: plain scalars in maps and sequences that remember where each entry came from.

A `Map` is a dict and a `Sequence` is a list, so readers can treat them as such. Each also has `origins`: key or index →
`Origin`. Entries that no file contains (a default, a normalised name) have no origin. A path is a tuple of keys and
indices: ("services", "web", "ports", 0).
"""

from __future__ import annotations

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Path = tuple[str | int, ...]
    Scalar = str | int | float | bool | None


class Origin:
    """Where an entry was written. `line` and `column` count from 1 (0: unknown).

    `layer` is how the entry came into the project: "file" (a -f file or the default one), "override" (a further -f
    file), "include", "extends" or "default" (added by normalisation). `overrode` is the entry that this one replaced.
    """

    __slots__ = ("column", "file", "layer", "line", "overrode")

    def __init__(self, file: str, line: int, column: int, layer: str = "file", overrode: Origin | None = None) -> None:
        self.file, self.line, self.column, self.layer, self.overrode = file, line, column, layer, overrode

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def __repr__(self) -> str:
        return f"Origin({self!s}, {self.layer})"

    def over(self, other: Origin | None) -> Origin:
        """This origin, with the one that it overrides."""
        if other is None or other is self:
            return self
        return Origin(self.file, self.line, self.column, self.layer, other)


class Map(dict[str, "Any"]):
    """A mapping; `origins[key]` is where the key was written."""

    __slots__ = ("origins",)

    def __init__(self, entries: dict[str, Any] | None = None, origins: dict[str, Origin] | None = None) -> None:
        if entries:
            dict.update(self, entries)
        self.origins: dict[str, Origin] = {} if origins is None else origins

    def place(self, key: str, value: Any, origin: Origin | None) -> None:
        """Set an entry together with its origin."""
        self[key] = value
        if origin is not None:
            self.origins[key] = origin


class Fields(Map):
    """A mapping with keys of the specification, in canonical order, followed by x-… keys."""

    __slots__ = ()


class Sequence(list["Any"]):
    """A sequence; `origins[index]` is where the item was written, None for an item that no file contains."""

    __slots__ = ("origins",)

    def __init__(self, entries: list[Any] | None = None, origins: list[Origin | None] | None = None) -> None:
        if entries:
            list.extend(self, entries)
        self.origins: list[Origin | None] = [None] * len(self) if origins is None else origins

    def put(self, value: Any, origin: Origin | None) -> None:
        """Append an item together with its origin."""
        self.append(value)
        self.origins.append(origin)


def origin_of(container: Any, key: str | int) -> Origin | None:
    """Where the entry `key` of a map or sequence was written, None if no file contains it."""
    if isinstance(container, Map):
        return container.origins.get(key)  # type: ignore[arg-type]
    if isinstance(container, Sequence) and isinstance(key, int) and key < len(container.origins):
        return container.origins[key]
    return None


def origin_at(tree: Any, path: Path) -> Origin | None:
    """Where the entry at `path` was written, or else the nearest entry above it that has an origin."""
    found = None
    for key in path:
        found = origin_of(tree, key) or found
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError):
            break
    return found


def value_at(tree: Any, path: Path) -> Any:
    """The value at `path`, None when there is none."""
    for key in path:
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def copied(value: Any) -> Any:
    """A deep copy; origins are immutable and shared."""
    if isinstance(value, dict):
        return Map({k: copied(v) for k, v in value.items()}, dict(getattr(value, "origins", ())))
    if isinstance(value, list):
        return Sequence([copied(v) for v in value], list(getattr(value, "origins", ())) or None)
    return value


def walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every entry below `value` with its path, containers before their entries."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walk(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from walk(inner, (*path, index))


def dotted(path: Path) -> str:
    """A path in the notation of messages: services.web.ports[0]."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text
