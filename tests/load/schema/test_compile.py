"""The compiled schema against a slow, obvious implementation of the same schema, with values generated from the
schema."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from composer.load.check.schema.compile import Compiler, comparable
from composer.load.check.schema.places import places_of
from composer.load.check.validate import document, specification
from tests.load.schema.making import values

TABLE = Compiler(document()).compile(document())

PLAIN = {"null": type(None), "boolean": bool, "string": str, "array": list, "object": dict}


def is_of(value: Any, name: str) -> bool:
    if name in PLAIN:
        return isinstance(value, PLAIN[name])
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and (name == "number" or value == value // 1)


def valid(schema: Mapping[str, Any], value: Any) -> bool:
    """The keywords of the JSON schema standard, one by one."""
    if "$ref" in schema:
        return valid(document()["$defs"][schema["$ref"].rpartition("/")[2]], value)
    kinds = schema.get("type", [])
    if kinds and not any(is_of(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    if "oneOf" in schema and sum(valid(one, value) for one in schema["oneOf"]) != 1:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        return False
    if is_of(value, "number") and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return False
    if isinstance(value, list):
        if schema.get("uniqueItems") and len({comparable(item) for item in value}) < len(value):
            return False
        if not all(valid(schema.get("items", {}), item) for item in value):
            return False
    if isinstance(value, dict):
        if any(key not in value for key in schema.get("required", ())):
            return False
        for key, inner in value.items():
            holds = [schema["properties"][key]] if key in schema.get("properties", {}) else []
            holds += [one for text, one in schema.get("patternProperties", {}).items() if re.search(text, key)]
            if not holds and schema.get("additionalProperties") is False:
                return False
            if not holds and isinstance(schema.get("additionalProperties"), dict):
                holds = [schema["additionalProperties"]]
            if not all(valid(one, inner) for one in holds):
                return False
    return True


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(-2, 2),
    st.sampled_from(["", "a", "1", "service_started", "\n"]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["x-a", "image", "name", "a b", "type", "retries"]), inner, max_size=3),
    ),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(values(document(), document()))
def test_generated_documents_are_valid(value: Any) -> None:
    assert valid(document(), value)
    assert not TABLE.find(value)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(values(document(), document()), ANYTHING, st.data())
def test_mutated_documents_agree_with_jsonschema(value: Any, other: Any, data: st.DataObject) -> None:
    value = copy.deepcopy(value)
    path: tuple[str | int, ...] = ()
    holder, key = {"": value}, ""
    while holder[key] and isinstance(holder[key], dict | list) and (not path or data.draw(st.integers(0, 5))):
        holder = holder[key]
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = data.draw(st.sampled_from(keys))
        path = (*path, key)
    if isinstance(holder, dict) and data.draw(st.integers(0, 3)) == 0:
        key = data.draw(st.sampled_from(["x-a", "image", "name", "a b", "type", "\n"]))
    holder[key] = other
    value = holder[""] if not path else value
    findings = TABLE.find(value)
    assert (not findings) == valid(document(), value), findings
    for finding in findings:
        place = value
        for step in finding.path[:-1]:
            place = place[step]
        assert not finding.path or finding.path[-1] in (place if isinstance(place, dict) else range(len(place)))


def test_independent_faults_are_all_found() -> None:
    found = TABLE.find({"services": {"a": {"image": 1, "por": 2}, "b c": {}}, "volumes": []})
    assert [(one.path, one.rule) for one in found] == [
        (("services", "a", "image"), "type"),
        (("services", "a", "por"), "additionalProperties"),
        (("services", "b c"), "additionalProperties"),
        (("volumes",), "type"),
    ]


@pytest.mark.parametrize("schema", [{"format": "duration"}, {"not": {}}, {"enum": [1]}, {"if": {}, "type": "string"}])
def test_an_unsupported_keyword_is_an_error(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"unsupported schema keywords|enum"):
        Compiler(schema).compile(schema)


def test_places_of_a_key() -> None:
    assert places_of(specification(), "ports") == [("services", "NAME")]
    assert places_of(specification(), "nowhere") == []
    assert ("services", "NAME", "volumes", "bind") in places_of(specification(), "create_host_path")


def test_hundreds_of_services_take_milliseconds() -> None:
    service = {
        "image": "x",
        "environment": {"A": "1", "B": 2, "C": None},
        "ports": ["80:80", {"target": 1}],
        "volumes": ["a:/b", {"type": "bind", "source": "a", "target": "/c"}],
        "networks": {"n": {"aliases": ["x"]}, "m": None},
        "depends_on": {"a": {"condition": "service_started"}},
        "healthcheck": {"test": ["CMD", "x"], "interval": "1s"},
        "labels": ["a=b"],
    }
    project = {"services": {f"s{number}": copy.deepcopy(service) for number in range(500)}}
    times = []
    for _ in range(5):
        start = time.process_time()
        assert not TABLE.find(project)
        times.append(time.process_time() - start)
    assert min(times) < 0.05
