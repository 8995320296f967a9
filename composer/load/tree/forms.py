"""Convert mappings to sequences of key=value, and sequences of names to mappings."""

from __future__ import annotations

from composer.load.tree.nodes import Map, Origin, Sequence
from composer.load.tree.text import text_of

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from typing import Any


def as_sequence(value: Any) -> Any:
    """A mapping as a sequence of key=value sorted by key; a text as a sequence of one."""
    if isinstance(value, Sequence):
        return value
    found = Sequence()
    if isinstance(value, Map):
        entries: list[tuple[str, Origin | None]] = []
        for key, entry in value.items():
            place = value.origins.get(key)
            if entry is None:
                entries.append((key, place))
            elif isinstance(entry, list):
                entries += [(f"{key}={text_of(item)}", place) for item in entry]
            else:
                entries.append((f"{key}={text_of(entry)}", place))
        for text, place in sorted(entries, key=lambda entry: entry[0]):
            found.put(text, place)
    elif isinstance(value, str):
        found.put(value, None)
    return found


def as_mapping(value: Any, default: dict[str, Any] | None = None) -> Any:
    """A sequence of names as a mapping from each name to a copy of `default`."""
    if isinstance(value, Map):
        return value
    found = Map()
    if isinstance(value, Sequence):
        for name, place in zip(value, value.origins, strict=True):
            if isinstance(name, str):
                found.place(name, None if default is None else Map(default), place)
    return found
