"""Values that a JSON schema allows, generated from the schema itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from composer.load.check.schema.compile import comparable

WORDS = st.text("abz09._-", min_size=1, max_size=3)
STRINGS = st.one_of(
    st.sampled_from(["", "1", "10s", "64m", "a=b", "80:80", "./a:/b", "é", "\x1b[1m", "${X}"]), st.text(max_size=4)
)
BY_PATTERN = {
    "[a-zA-Z0-9][a-zA-Z0-9_.-]+": st.from_regex(r"\A[a-z0-9]{2,4}\Z"),
    "always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+": st.sampled_from(
        ["always", "never", "build", "missing", "daily", "every_12h"]
    ),
}
NAMES = {
    "^x-": WORDS.map("x-{}".format),
    "^[a-zA-Z0-9._-]+$": WORDS,
    "^[a-z]+$": st.text("abc", min_size=1, max_size=3),
}


def values(schema: Mapping[str, Any], document: Mapping[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        return values(document["$defs"][schema["$ref"].rpartition("/")[2]], document, depth)
    if "oneOf" in schema:
        return st.one_of([values(one, document, depth) for one in schema["oneOf"]])
    kinds = schema.get("type", ["null", "boolean", "integer", "string"])
    return st.one_of([_of(kind, schema, document, depth) for kind in ([kinds] if isinstance(kinds, str) else kinds)])


def _of(kind: str, schema: Mapping[str, Any], document: Mapping[str, Any], depth: int) -> st.SearchStrategy[Any]:
    least, most = schema.get("minimum", -5), schema.get("maximum", 5)
    if kind == "string":
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        return BY_PATTERN.get(schema.get("pattern", ""), STRINGS)
    if kind == "array":
        unique = comparable if schema.get("uniqueItems") else None
        items = st.deferred(lambda: values(schema.get("items", {}), document, depth + 1))
        return st.lists(items, max_size=2, unique_by=unique)
    if kind == "object":
        return st.deferred(lambda: _objects(schema, document, depth))
    return {
        "null": st.none(),
        "boolean": st.booleans(),
        "integer": st.integers(least, most),
        "number": st.one_of(st.integers(least, most), st.floats(least, most)),
    }[kind]


@st.composite
def _objects(draw: st.DrawFn, schema: Mapping[str, Any], document: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties, made = schema.get("properties", {}), {}
    keys = [*schema.get("required", ())]
    if properties:
        keys += draw(st.lists(st.sampled_from(sorted(properties)), max_size=5 if depth < 2 else 3))
    for key in dict.fromkeys(keys):
        made[key] = draw(values(properties.get(key, {}), document, depth + 1))
    for pattern, inner in schema.get("patternProperties", {}).items():
        for key in draw(st.lists(NAMES.get(pattern, WORDS), max_size=2)):
            if key not in properties:
                made[key] = draw(values(inner, document, depth + 1))
    return made
