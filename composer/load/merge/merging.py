"""Merging one tree into another: the rules by place.

By default, mappings are merged, sequences are appended, and anything else is replaced. A row of keys.py can have
another rule. unique.py decides which entries of a sequence a later one replaces.
"""

from __future__ import annotations

from composer.load.errors import LoadError
from composer.load.tree.forms import as_mapping, as_sequence
from composer.load.tree.nodes import Map, Origin, Sequence, dotted, origin_of
from composer.load.tree.patterns import Node

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from typing import Any

    from composer.load.tree.nodes import Path


def merged(base: Map, other: Map, rules: Node, path: Path = ()) -> Map:
    """Merge `other` into `base` and return the result; both may be changed. `rules` apply at `path`, which messages
    show."""
    whole: Map = _mappings(base, other, rules, path)
    return whole


def _merge(base: Any, other: Any, node: Node | None, path: Path) -> Any:
    if node is not None and node.rule is not None:
        return node.rule(base, other, node, path)
    if other is None:
        return base
    if isinstance(base, dict):
        if not isinstance(other, dict):
            raise _Mismatch(path, base, other)
        return _mappings(base, other, node, path)
    if isinstance(base, list):
        if not isinstance(other, list):
            raise _Mismatch(path, base, other)
        return _appended(base, other)
    return other


class _Mismatch(Exception):
    def __init__(self, path: Path, base: Any, other: Any) -> None:
        self.path, self.base, self.other = path, base, other


def _mappings(base: Any, other: Any, node: Node | None, path: Path) -> Any:
    origins = base.origins
    places = other.origins
    for key, value in other.items():
        place: Origin | None = places.get(key)
        if key in base:
            earlier = base[key]
            below = None if node is None else node.below(key)
            try:
                base[key] = _merge(earlier, value, below, (*path, key))
            except _Mismatch as error:
                where = dotted(error.path)
                before = origin_of(base, key)
                raise LoadError(
                    f"cannot override {where}: {_kind(error.base)} (at {before}) with {_kind(error.other)}", place
                ) from None
            if place is not None:
                origins[key] = place.over(origins.get(key))
        else:
            base[key] = value
            if place is not None:
                origins[key] = place
    return base


def _kind(value: Any) -> str:
    return "a mapping" if isinstance(value, dict) else "a sequence" if isinstance(value, list) else "a value"


def _appended(base: Any, other: Any) -> Any:
    base.extend(other)
    base.origins.extend(other.origins)
    return base


# ---- rules


def replace(base: Any, other: Any, node: Node, path: Path) -> Any:
    return other


def sequence(base: Any, other: Any, node: Node, path: Path) -> Any:
    """Convert both to sequences of key=value and append the later one."""
    first, then = as_sequence(base), as_sequence(other)
    return _appended(first, then)


def hosts(base: Any, other: Any, node: Node, path: Path) -> Any:
    first, then = as_sequence(base), as_sequence(other)
    for item, place in zip(then, then.origins, strict=True):
        if item not in first:
            first.put(item, place)
    return first


def build(base: Any, other: Any, node: Node, path: Path) -> Any:
    return _mappings(_build_map(base), _build_map(other), node, path)


def _build_map(value: Any) -> Any:
    if isinstance(value, str):
        return Map({"context": value})
    return value if isinstance(value, dict) else Map()


def keyed(base: Any, other: Any, node: Node, path: Path) -> Any:
    """Convert both to mappings, with null for names without a value, and merge them."""
    return _mappings(as_mapping(base), as_mapping(other), node, path)


def depends_on(base: Any, other: Any, node: Node, path: Path) -> Any:
    default = {"condition": "service_started", "required": True}
    return _mappings(as_mapping(base, default), as_mapping(other, default), node, path)


def logging(base: Any, other: Any, node: Node, path: Path) -> Any:
    """Merge the options only if both have the same driver."""
    if not isinstance(other, dict) or not isinstance(base, dict):
        return base if other is None else other
    if "driver" not in other or "driver" not in base or base["driver"] == other["driver"]:
        return _mappings(base, other, node, path)
    return other


def pools(base: Any, other: Any, node: Node, path: Path) -> Any:
    """Merge address pools of the same subnet."""
    if not isinstance(base, Sequence) or not isinstance(other, Sequence):
        raise _Mismatch(path, base, other)
    pools = Sequence()
    for mine, my_place in zip(base, base.origins, strict=True):
        for theirs, place in zip(other, other.origins, strict=True):
            if not isinstance(mine, dict) or not isinstance(theirs, dict):
                raise _Mismatch(path, base, other)
            if theirs.get("subnet") != mine.get("subnet") and _pool(pools, theirs.get("subnet")) is None:
                pools.put(theirs, place)
                continue
            pool = _mappings(mine, theirs, node, path)
            at = _pool(pools, pool.get("subnet"))
            if at is None:
                pools.put(pool, place.over(my_place) if place else my_place)
            else:
                pools[at] = pool
    return pools


def _pool(pools: Sequence, subnet: Any) -> int | None:
    return next((index for index, pool in enumerate(pools) if pool.get("subnet") == subnet), None)
