"""A project's tree in docker compose's output: the order of keys, and differences between YAML and JSON.

The tree comes in the canonical order: keys of the specification in mappings of the class Fields, each with the user's x-… keys
at its end. Names are sorted here. JSON omits x-… keys below the top level; YAML omits unset keys.
"""

from __future__ import annotations

from composer.cli.render.yaml import document, sorted_keys
from composer.load.resolve.fingerprint import as_json
from composer.load.tree.nodes import Fields
from composer.load.tree.text import marshalled

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any

UNSET: dict[str, Any] = {
    "command": None,
    "entrypoint": None,
    "exec": {"command": None},
    "ipam": {},
    "placement": {},
    "resources": {},
}
"""Keys that are always present in JSON, with their default values."""

RESOLVED = frozenset(("args", "environment"))
"""Lists that docker compose rewrites even without interpolation, so that an empty one becomes null in JSON."""

CAPITALS = {"Path": "path", "Rate": "rate", "Weight": "weight"}
"""JSON's names for the keys of blkio_config's devices."""


def to_yaml(tree: Any) -> str:
    """The canonical tree as `config` prints it."""
    return document(_for_yaml(tree))


def to_json(tree: Any) -> str:
    """The canonical tree as `config --format json` prints it, without a newline at the end."""
    return marshalled({key: as_json(tree[key]) for key in sorted(tree) if key != "models"}, 2)


def sorted_json(tree: Any) -> str:
    """Any tree as JSON, all keys sorted: `config --no-interpolate --format json`. Empty lists in RESOLVED are null."""
    return marshalled(_sorted(tree, sorted, RESOLVED), 2)


def sorted_yaml(tree: Any) -> str:
    """Any tree as YAML, all keys sorted: `config --no-interpolate`."""
    return document(_sorted(tree, sorted_keys))


def _for_yaml(value: Any) -> Any:
    if isinstance(value, list):
        return [_for_yaml(item) for item in value]
    if isinstance(value, Fields):
        kept = ((key, inner) for key, inner in value.items() if key not in UNSET or inner != UNSET[key])
        written = {CAPITALS.get(key, key): _for_yaml(inner) for key, inner in kept}
        for limit in written.get("ulimits", {}).values():
            if isinstance(limit, dict):
                limit |= {"soft": limit.get("soft", 0), "hard": limit.get("hard", 0)}
        return written
    if isinstance(value, dict):
        return {key: _for_yaml(value[key]) for key in sorted_keys(value)}
    return value


def _sorted(value: Any, ordered: Any, null: Container[str] = ()) -> Any:
    """The tree with mappings ordered. Empty lists at the keys `null` are null."""
    if isinstance(value, list):
        return [_sorted(item, ordered, null) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: None if value[key] == [] and key in null else _sorted(value[key], ordered, null) for key in ordered(value)
    }
