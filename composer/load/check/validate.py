"""Check a tree against the compose specification's JSON schema. Errors have a position and a hint.

Like Docker Compose, the pipeline checks the tree once per file, after interpolating the file and merging it into the
earlier ones. Checks that a schema cannot express are in constraints.py.
"""

from __future__ import annotations

import json
import os
from functools import cache

from composer.load.check.schema.compile import Compiler, Finding, Table
from composer.load.check.schema.jobs import extended
from composer.load.errors import LoadError, nearest
from composer.load.printable import printable
from composer.load.tree.nodes import dotted, origin_at, value_at

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from composer.load.tree.nodes import Origin

    Path = tuple[str | int, ...]

WORDS = {
    "null": "empty",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "a string",
    "array": "a list",
    "object": "a mapping",
}

DURATIONS = frozenset(
    ("interval", "timeout", "start_period", "start_interval", "stop_grace_period", "delay", "monitor", "window")
)
"""Keys whose values are durations."""

FEW = 12
"""The most allowed keys or values that a message lists; beyond that it names only the nearest."""

REPORTED = 20
"""The most errors reported at once; later ones usually repeat the same mistake."""


@cache
def specification() -> Mapping[str, Any]:
    """The compose specification's schema."""
    with open(os.path.join(os.path.dirname(__file__), "schema", "compose-spec.json"), encoding="utf-8") as file:
        schema: Mapping[str, Any] = json.load(file)
    return schema


@cache
def document() -> Mapping[str, Any]:
    """The schema with Docker Compose's additions."""
    return extended(specification())


@cache
def _table() -> Table:
    return Compiler(document()).compile(document())


def validate(tree: Any) -> list[LoadError]:
    """The errors of a tree, in the order of its files and lines; none when it is valid."""
    findings = list(_table().find(tree))
    if not findings:
        return []
    findings.sort(key=lambda finding: _place(origin_at(tree, finding.path)))
    errors = [_error(tree, finding) for finding in findings[:REPORTED]]
    if len(findings) > REPORTED:
        errors.append(LoadError(f"… and {len(findings) - REPORTED} more problems"))
    return errors


def _place(origin: Origin | None) -> tuple[str, int, int]:
    return ("", 0, 0) if origin is None else (origin.file, origin.line, origin.column)


def _error(tree: Any, finding: Finding) -> LoadError:
    path = finding.path
    message, hint = DESCRIBE[finding.rule](tree, path, finding.wanted)
    error = LoadError(message, origin_at(tree, path), hint)
    error.missing = finding.rule == "required"
    return error


def _type(tree: Any, path: Path, wanted: tuple[str, ...]) -> tuple[str, str]:
    value = value_at(tree, path)
    names = [WORDS[kind] for kind in wanted if not (kind == "integer" and "number" in wanted)]
    hint = ""
    if value is None and not {"object", "array"}.isdisjoint(wanted):
        hint = "indent its content below it"
    elif len(path) == 2 and wanted == ("object",) and not isinstance(value, dict):
        section, key = path
        if key in document()["$defs"][str(section).removesuffix("s")].get("properties", {}):
            hint = f"{key} is a key of one of the {section}: it must be indented below that one's name"
    elif "array" in wanted and "string" not in wanted and isinstance(value, str | int | float):
        hint = f"write a list, even for a single item: [{shown(value)}]"
    elif path[-1] in DURATIONS and isinstance(value, int | float) and not isinstance(value, bool):
        hint = f"a duration has a unit: did you mean {value}s?"
    elif isinstance(path[-1], int) and "string" in wanted and isinstance(value, dict) and len(value) == 1:
        ((key, entry),) = value.items()
        hint = f"write {key}={entry}, or leave out the dashes" if not isinstance(entry, dict | list) else ""
    elif wanted == ("string",) and isinstance(value, int | float):
        hint = f"quote it to get a string: {shown(str(value).lower() if isinstance(value, bool) else str(value))}"
    return f"{_at(path)} must be {_any(names)}, found {shown(value)}", hint


def _unknown(tree: Any, path: Path, known: tuple[str, ...]) -> tuple[str, str]:
    *above, key = path
    at, name = _at(tuple(above)), str(key)
    if any(one.startswith("^") for one in known):
        return f"{at}: {shown(name)} is not a valid name", "letters, digits, '.', '_' and '-' are allowed in a name"
    message = f"{at}: unknown key {shown(name)}"
    near = nearest(name.lower().replace("-", "_"), known)
    elsewhere = _elsewhere(tree, path)
    if near:
        return message, f"did you mean {near!r}?" + (f" ({elsewhere})" if elsewhere else "")
    return message, elsewhere or (f"allowed: {', '.join(sorted(known))}" if len(known) <= FEW else "")


def _elsewhere(tree: Any, path: Path) -> str:
    """A hint where the key belongs, if it is allowed elsewhere."""
    from composer.load.check.schema.places import places_of

    value, key = value_at(tree, path), str(path[-1])
    if len(path) == 1 and isinstance(value, dict) and ("image" in value or "build" in value):
        return f"is it a service? It must be indented below 'services:', as services.{key}"
    places = places_of(specification(), key)
    if not places:
        return ""
    return f"{key!r} is a key of {_any([dotted(place) or 'the top level' for place in places[:2]])}"


def _required(tree: Any, path: Path, key: str) -> tuple[str, str]:
    return f"{_at(path)}: {key!r} is missing", ""


def _enum(tree: Any, path: Path, values: tuple[str, ...]) -> tuple[str, str]:
    found = value_at(tree, path)
    near = nearest(str(found).lower(), values)
    hint = f"did you mean {near!r}?" if near else ""
    return f"{_at(path)} must be {_any([repr(value) for value in values])}, found {shown(found)}", hint


def _pattern(tree: Any, path: Path, pattern: str) -> tuple[str, str]:
    return f"{_at(path)}: {shown(value_at(tree, path))} does not match {pattern}", ""


def _minimum(tree: Any, path: Path, bound: float) -> tuple[str, str]:
    return f"{_at(path)} must be at least {bound}, found {shown(value_at(tree, path))}", ""


def _maximum(tree: Any, path: Path, bound: float) -> tuple[str, str]:
    return f"{_at(path)} must be at most {bound}, found {shown(value_at(tree, path))}", ""


def _unique(tree: Any, path: Path, first: int) -> tuple[str, str]:
    earlier = (*path[:-1], first)
    place = origin_at(tree, earlier)
    there = f" (line {place.line})" if place and place.line else ""
    return f"{_at(path)}: {shown(value_at(tree, path))} is a duplicate of {dotted(earlier)}{there}", ""


def _one_of(tree: Any, path: Path, fitting: int) -> tuple[str, str]:
    return f"{_at(path)}: {shown(value_at(tree, path))} is ambiguous: it matches {fitting} forms", ""


DESCRIBE: dict[str, Callable[[Any, Path, Any], tuple[str, str]]] = {
    "type": _type,
    "additionalProperties": _unknown,
    "required": _required,
    "enum": _enum,
    "pattern": _pattern,
    "minimum": _minimum,
    "maximum": _maximum,
    "uniqueItems": _unique,
    "oneOf": _one_of,
}
"""Rule → (message, hint)."""


def _at(path: Path) -> str:
    return dotted(path) or "top level"


def _any(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def shown(value: Any) -> str:
    """A value as a message shows it: short, on one line, without terminal control characters."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if not isinstance(value, str):
        return json.dumps(value)
    text = value if len(value) <= 60 else value[:59] + "…"
    return "'" + printable(text).replace("\n", "\\n") + "'"
