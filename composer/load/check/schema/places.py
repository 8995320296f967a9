"""Where a key is allowed; used in the hint for a misplaced key."""

from __future__ import annotations

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

NAMED = "NAME"
"""Placeholder for a name that the user chooses: services.NAME.ports."""


def places_of(document: Mapping[str, Any], key: str) -> list[tuple[str, ...]]:
    """The paths of the mappings that allow this key, shallowest first. List items add nothing to a path."""
    found: dict[tuple[str, ...], None] = {}
    level: list[tuple[tuple[str, ...], Mapping[str, Any]]] = [((), document)]
    while level:
        below = []
        for path, schema in level:
            if "$ref" in schema:
                schema = document["$defs"][schema["$ref"].rpartition("/")[2]]
            if key in schema.get("properties", {}):
                found[path] = None
            below += [(path, one) for one in schema.get("oneOf", ())]
            below += [(path, schema["items"])] if "items" in schema else []
            below += [((*path, name), inner) for name, inner in schema.get("properties", {}).items()]
            named = [inner for pattern, inner in schema.get("patternProperties", {}).items() if pattern != "^x-"]
            below += [((*path, NAMED), inner) for inner in named if inner]
        level = below
    return list(found)
