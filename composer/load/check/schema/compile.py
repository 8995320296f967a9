"""JSON schema (draft 2020-12, what compose-spec.json uses of it) → tables that find the errors of a value.

    schema ── compiled when a value needs it ──▶ Table: class of the value → finder ── value ──▶ findings

A class whose values are all valid has no finder, and `$ref`, `type` and `oneOf` are resolved when the table is built.
So a valid tree costs one look-up per value, and a project of hundreds of services takes milliseconds. A finding names
the innermost error instead of "none of 3 schemas matches". Compiling a schema with an unknown keyword raises
ValueError.
"""

from __future__ import annotations

import re

from composer.load.tree.nodes import Map
from composer.load.tree.nodes import Sequence as Items

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Schema = Mapping[str, Any]
    Find = Callable[[Any], Sequence["Finding"]]

TYPES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int, float),
    "number": (int, float),
    "string": (str,),
    "array": (Items, list),
    "object": (Map, dict),
}
"""JSON type → its Python classes. A float without a fraction also counts as an integer."""

NUMBER_RULES = frozenset(("minimum", "maximum"))
STRING_RULES = frozenset(("pattern", "enum"))
ARRAY_RULES = frozenset(("items", "uniqueItems"))
OBJECT_RULES = frozenset(("properties", "patternProperties", "additionalProperties", "required"))
ANNOTATIONS = frozenset(("$schema", "$id", "$defs", "title", "description", "deprecated", "default"))
HANDLED = frozenset(("$ref", "oneOf", "type")) | NUMBER_RULES | STRING_RULES | ARRAY_RULES | OBJECT_RULES | ANNOTATIONS


class Finding:
    """One error. `path` leads from the checked value to the invalid entry. `rule` is the keyword that was violated and
    `wanted` its requirement: type (names of types), enum (values), required (the missing key), additionalProperties
    (the known keys, or the patterns that names must match), pattern (the regular expression), minimum and maximum (the
    bound), uniqueItems (index of the equal item), oneOf (how many alternatives fit).
    """

    __slots__ = ("path", "rule", "wanted")

    def __init__(self, path: tuple[str | int, ...], rule: str, wanted: Any) -> None:
        self.path, self.rule, self.wanted = path, rule, wanted

    def below(self, key: str | int) -> Finding:
        """The same error, with a path that starts one level up, at `key`."""
        return Finding((key, *self.path), self.rule, self.wanted)

    def __repr__(self) -> str:
        return f"Finding({self.path}, {self.rule}, {self.wanted!r})"


VALID: Sequence[Finding] = ()


class Table(dict[type, "Find | None"]):
    """Class → finder, or None when every value of the class is valid. A class that is missing is a type error."""

    __slots__ = ("types",)

    def __init__(self, types: tuple[str, ...]) -> None:
        self.types = types

    def __missing__(self, kind: type) -> Find:
        return lambda value: (Finding((), "type", self.types),)

    def find(self, value: Any) -> Sequence[Finding]:
        """The errors of the value; none when it is valid."""
        finder = self[type(value)]
        return finder(value) if finder else VALID


class Compiler:
    """Compiles the schemas of one document; each of its $defs once."""

    def __init__(self, document: Schema) -> None:
        self.document = document
        self._referenced: dict[str, Table] = {}

    def compile(self, schema: Schema) -> Table:
        unknown = schema.keys() - HANDLED
        if unknown:
            raise ValueError(f"unsupported schema keywords: {', '.join(sorted(unknown))}")
        if "$ref" in schema:
            return self._reference(schema["$ref"])
        if "oneOf" in schema:
            return _one_of([self.compile(one) for one in schema["oneOf"]])
        given = schema.get("type", tuple(TYPES))
        table = Table((given,) if isinstance(given, str) else tuple(given))
        finders = {
            "integer": _number,
            "number": _number,
            "string": _string,
            "array": self._array,
            "object": self._object,
        }
        for name in table.types:
            finder = finders[name](schema) if name in finders else None
            for kind in TYPES[name]:
                table[kind] = finder
        if "integer" in table.types and "number" not in table.types:
            table[float] = _integral(table, table[int])
        return table

    def _reference(self, name: str) -> Table:
        if name not in self._referenced:
            schema: Any = self.document
            for part in name.removeprefix("#/").split("/"):
                schema = schema[part]
            self._referenced[name] = self.compile(schema)
        return self._referenced[name]

    def _object(self, schema: Schema) -> Find | None:
        """Checks objects. The table for a key is chosen when the key first occurs."""
        if OBJECT_RULES.isdisjoint(schema):
            return None
        properties, required = schema.get("properties", {}), schema.get("required", ())
        patterns = {expression(text): inner for text, inner in schema.get("patternProperties", {}).items()}
        others = schema.get("additionalProperties", True)
        known = tuple(properties) or tuple(schema.get("patternProperties", ()))
        tables: dict[str, Table] = {}

        def table_of(key: str) -> Table:
            schemas = [properties[key]] if key in properties else []
            schemas += [inner for pattern, inner in patterns.items() if pattern.search(key)]
            if not schemas and others is False:
                return _refusing(known)
            # of several patterns that match a key, only the first restricts it (x-… in patternProperties)
            tables[key] = self.compile(schemas[0] if schemas else {} if others is True else others)
            return tables[key]

        def find(value: Any) -> Sequence[Finding]:
            found: Sequence[Finding] = VALID
            for key, inner in value.items():
                finder = (tables.get(key) or table_of(key))[type(inner)]
                if finder and (wrong := finder(inner)):
                    found = [*found, *(one.below(key) for one in wrong)]
            for key in required:
                if key not in value:
                    found = [*found, Finding((), "required", key)]
            return found

        return find

    def _array(self, schema: Schema) -> Find | None:
        if ARRAY_RULES.isdisjoint(schema):
            return None
        item, unique = self.compile(schema.get("items", {})), schema.get("uniqueItems", False)

        def find(value: Any) -> Sequence[Finding]:
            found: Sequence[Finding] = VALID
            for index, inner in enumerate(value):
                finder = item[type(inner)]
                if finder and (wrong := finder(inner)):
                    found = [*found, *(one.below(index) for one in wrong)]
            if unique and len(value) > 1:
                found = [*found, *_repeated(value)] or VALID
            return found

        return find


def _one_of(tables: Sequence[Table]) -> Table:
    """Checks a value against the alternatives that accept its class; usually there is one."""
    table = Table(tuple(dict.fromkeys(name for one in tables for name in one.types)))
    for kind in dict.fromkeys(kind for one in tables for kind in one):
        finders = [one[kind] for one in tables if kind in one]
        table[kind] = finders[0] if len(finders) == 1 else _exactly_one(finders)
    return table


def _exactly_one(finders: Sequence[Find | None]) -> Find:
    def find(value: Any) -> Sequence[Finding]:
        results = [finder(value) if finder else VALID for finder in finders]
        fitting = sum(not result for result in results)
        if fitting == 1:
            return VALID
        if fitting:
            return (Finding((), "oneOf", fitting),)
        return max(results, key=lambda result: max(len(one.path) for one in result))

    return find


def _refusing(known: tuple[str, ...]) -> Table:
    """Rejects a key that is not allowed, with any value."""
    table = Table(())
    for kind in (kind for kinds in TYPES.values() for kind in kinds):
        table[kind] = lambda value: (Finding((), "additionalProperties", known),)
    return table


def _number(schema: Schema) -> Find | None:
    if NUMBER_RULES.isdisjoint(schema):
        return None
    least, most = schema.get("minimum"), schema.get("maximum")

    def find(value: Any) -> Sequence[Finding]:
        if least is not None and not value >= least:
            return (Finding((), "minimum", least),)
        if most is not None and not value <= most:
            return (Finding((), "maximum", most),)
        return VALID

    return find


def _integral(table: Table, integer: Find | None) -> Find:
    """Rejects a float with a fraction where an integer is required."""

    def find(value: Any) -> Sequence[Finding]:
        if not value.is_integer():
            return (Finding((), "type", table.types),)
        return integer(value) if integer else VALID

    return find


def _string(schema: Schema) -> Find | None:
    if STRING_RULES.isdisjoint(schema):
        return None
    values, text = tuple(schema.get("enum", ())), schema.get("pattern", "")
    if values and schema.get("type") != "string":
        raise ValueError(f"an enum with values that are not strings: {values}")
    pattern = expression(text)

    def find(value: Any) -> Sequence[Finding]:
        if values and value not in values:
            return (Finding((), "enum", values),)
        return VALID if pattern.search(value) else (Finding((), "pattern", text),)

    return find


def expression(text: str) -> re.Pattern[str]:
    """An ECMA 262 regular expression in Python's syntax: its `$` does not match before a final newline."""
    return re.compile(re.sub(r"(?<!\\)\$", r"\\Z", text))


def _repeated(items: Sequence[Any]) -> list[Finding]:
    """Each item that equals an earlier one."""
    seen: dict[Any, int] = {}
    found = []
    for index, item in enumerate(items):
        first = seen.setdefault(comparable(item), index)
        if first != index:
            found.append(Finding((index,), "uniqueItems", first))
    return found


def comparable(value: Any) -> Any:
    """A hashable value that is equal for values that are equal in JSON: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, dict):
        return ("object", frozenset((key, comparable(inner)) for key, inner in value.items()))
    if isinstance(value, list):
        return ("array", tuple(comparable(inner) for inner in value))
    return value
