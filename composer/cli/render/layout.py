"""A project's tree as docker compose writes it: the order of keys, and what only one of the two formats has.

The tree comes in the canonical order: keys of the specification in mappings of the class Fields, each with the user's x-… keys
at its end. Names are sorted here. JSON leaves out the x-… keys below the top; YAML leaves out what nobody set.
"""

from __future__ import annotations

import json

from composer.cli.render.yaml import document, sorted_keys
from composer.load.tree import Fields

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from typing import Any

UNSET: dict[str, Any] = {
    "command": None,
    "entrypoint": None,
    "exec": {"command": None},
    "ipam": {},
    "placement": {},
    "resources": {},
}
"""Keys that JSON has always, and what they have when nobody set them."""

CAPITALS = {"Path": "path", "Rate": "rate", "Weight": "weight"}
"""So JSON calls the keys of blkio_config's devices."""


def to_yaml(tree: Any) -> str:
    """The canonical tree as `config` prints it."""
    return document(_for_yaml(tree))


def to_json(tree: Any) -> str:
    """The canonical tree as `config --format json` prints it, without a newline at the end."""
    return json_text({key: _for_json(tree[key]) for key in sorted(tree) if key != "models"})


def sorted_json(tree: Any) -> str:
    """Any tree as JSON, all keys sorted: `config --no-interpolate --format json`. An empty list is null there."""
    return json_text(_sorted(tree, sorted, empty=None))


def sorted_yaml(tree: Any) -> str:
    """Any tree as YAML, all keys sorted: `config --no-interpolate`."""
    return document(_sorted(tree, sorted_keys))


def json_text(value: Any) -> str:
    """As Go marshals with an indent of two: <, > and & escaped, numbers without a needless fraction."""
    text = json.dumps(_plain_numbers(value), ensure_ascii=False, indent=2, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


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


def _for_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_for_json(item) for item in value]
    if isinstance(value, Fields):
        return {key: _for_json(inner) for key, inner in value.items() if not key.startswith("x-")}
    if isinstance(value, dict):
        return {key: _for_json(value[key]) for key in sorted(value)}
    return value


def _sorted(value: Any, ordered: Any, empty: Any = ()) -> Any:
    if isinstance(value, list):
        return [_sorted(item, ordered, empty) for item in value] or (None if empty is None else [])
    return {key: _sorted(value[key], ordered, empty) for key in ordered(value)} if isinstance(value, dict) else value


def _plain_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain_numbers(inner) for inner in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    return value
