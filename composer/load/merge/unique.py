"""Sequences with unique entries: a later entry replaces an earlier one with the same key."""

from __future__ import annotations

from composer.load.errors import REPORTED, LoadError, raise_all
from composer.load.resolve import short
from composer.load.resolve.errors import ShortFormError
from composer.load.tree.nodes import Map, Sequence, dotted, origin_of
from composer.load.tree.patterns import Node, applied

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from composer.load.tree.nodes import Path


def enforced(root: Map, rules: Node) -> None:
    """Remove entries that a later one replaces. Raises LoadError for entries without a key."""
    errors: list[LoadError] = []

    def once(key_of: Callable[[Any, Path, Sequence], Any], value: Any, path: Path) -> Any:
        try:
            return _once(key_of, value, path)
        except LoadError as error:
            errors.append(error)
            return value

    applied(root, rules, once)
    raise_all(errors[:REPORTED])


def _once(key_of: Callable[[Any, Path, Sequence], Any], value: Any, path: Path) -> Any:
    if not isinstance(value, Sequence):
        return value
    if len(value) < 2:
        for index, item in enumerate(value):
            key_of(item, (*path, index), value)
        return value
    found: list[Any] = []
    places: list[Any] = []
    at: dict[Any, int] = {}
    for index, item in enumerate(value):
        key = key_of(item, (*path, index), value)
        place = value.origins[index]
        earlier = at.get(key)
        if earlier is None:
            at[key] = len(found)
            found.append(item)
            places.append(place)
        else:
            found[earlier] = item
            before = places[earlier]
            places[earlier] = place if place is None else place.over(before)
    return value if len(found) == len(value) else Sequence(found, places)


# ---- keys


def name(item: Any, path: Path, where: Sequence) -> Any:
    """The part before the first `=`."""
    return item.partition("=")[0] if isinstance(item, str) else repr(item)


def target(item: Any, path: Path, where: Sequence) -> Any:
    if isinstance(item, dict):
        target = item.get("target")
        if not isinstance(target, str):
            raise LoadError(f"{dotted(path)}: service volume is missing a mount target", origin_of(where, path[-1]))
        return target
    if isinstance(item, str):
        try:
            return short.volume(item)["target"]
        except ShortFormError as error:
            raise LoadError(
                f"{dotted(path)}: {error}", origin_of(where, path[-1]), "write [SOURCE:]TARGET[:ro|rw|…]"
            ) from None
    return repr(item)


def device(item: Any, path: Path, where: Sequence) -> Any:
    if isinstance(item, dict):
        target = item.get("target")
        if not isinstance(target, str):
            raise LoadError(f"{dotted(path)}: service device is missing a mount target", origin_of(where, path[-1]))
        return target
    if isinstance(item, str):
        parts = item.split(":")
        return parts[0] if len(parts) == 1 else parts[1]
    return repr(item)


def expose(item: Any, path: Path, where: Sequence) -> Any:
    if isinstance(item, bool) or not isinstance(item, (str, int)):
        raise LoadError(f"{dotted(path)}: unsupported expose value {item}", origin_of(where, path[-1]))
    return str(item)


def mount(folder: str) -> Callable[[Any, Path, Sequence], Any]:
    def key(item: Any, path: Path, where: Sequence) -> Any:
        if isinstance(item, dict):
            target = item.get("target")
            return f"{folder}/{item.get('source')}" if target is None else str(target)
        if not isinstance(item, str):
            raise LoadError(f"{dotted(path)}: expected a name or a mapping", origin_of(where, path[-1]))
        return f"{folder}/{item}"

    return key


def port(item: Any, path: Path, where: Sequence) -> Any:
    if isinstance(item, dict):
        if "target" not in item:
            raise LoadError(f"{dotted(path)}: service ports entry is missing a target port", origin_of(where, path[-1]))
        published = item.get("published")
        return (
            str(item.get("host_ip", "0.0.0.0")),
            (type(published), str(published)),
            str(item["target"]),
            str(item.get("protocol", "tcp")),
        )
    return str(item)


def file(item: Any, path: Path, where: Sequence) -> Any:
    if isinstance(item, dict):
        if "path" not in item:
            raise LoadError(f"{dotted(path)}: the path of an env_file is missing", origin_of(where, path[-1]))
        return str(item["path"])
    return str(item)
