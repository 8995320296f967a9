"""The keys of the compose specification's own JSON schema, as patterns: ("services", "*", "ports", "*", "target")."""

import json
from pathlib import Path

SCHEMA = json.loads(
    (Path(__file__).resolve().parents[2] / "composer" / "load" / "check" / "schema" / "compose-spec.json").read_text()
)
TOP = ("services", "networks", "volumes", "configs", "secrets", "models")


def keys():
    """Every key of every element. Entries that users name (labels, options …) have no further keys."""
    found = set()
    for kind in TOP:
        name = kind.removesuffix("s")
        _walk(SCHEMA["$defs"][name], (kind, "*"), found)
    return found


def _walk(node, path, found):
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        if name not in ("list_or_dict", "command", "extra_hosts"):
            _walk(SCHEMA["$defs"][name], path, found)
        return
    for choice in node.get("oneOf", ()):
        _walk(choice, path, found)
    for key, inner in node.get("properties", {}).items():
        found.add((*path, key))
        _walk(inner, (*path, key), found)
    if isinstance(node.get("items"), dict):
        _walk(node["items"], (*path, "*"), found)
    for pattern, inner in node.get("patternProperties", {}).items():
        if pattern != "^x-":
            _walk(inner, (*path, "*"), found)
