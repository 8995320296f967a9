"""YAML text: the quoting that docker compose prints (its answers are written here), and that it reads back the same."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from composer.cli.render.yaml import document, number, quoted, sorted_keys

PRINTED = {
    "nginx:1.27": "nginx:1.27", "a b": "a b", "": '""', "yes": "'yes'", "n": "'n'", "true": '"true"', "null": '"null"',
    "~": '"~"', "1": '"1"', "0x1f": '"0x1f"', "1e3": '"1e3"', "0o7": '"0o7"', "1_000": '"1_000"', ".5": '".5"', "1.": '"1."',
    "2024-01-01": '"2024-01-01"', "1:20": "'1:20'", "80:80": "80:80", " a": "' a'", "a ": "'a '", "a: b": "'a: b'", "a:": "'a:'",
    "a:b": "a:b", "a #b": "'a #b'", "a#b": "a#b", "#a": "'#a'", "-": "'-'", "- a": "'- a'", "-a": "-a", "--": "--",
    "---": "'---'", "...": "'...'", "?a": "?a", "? a": "'? a'", "*a": "'*a'", "&a": "'&a'", "!a": "'!a'", "%a": "'%a'",
    "@a": "'@a'", "`a": "'`a'", "{a": "'{a'", "[a": "'[a'", "'a": "'''a'", '"a': "'\"a'", "it's": "it's", "a\tb": '"a\\tb"',
    "\x1b[1m": '"\\e[1m"', "\x00": '"\\0"', "é": "é", "\U0001f600": '"\\U0001F600"', "\u200b": "\u200b", "\x85": '"\\N"',
    "\xa0": "\xa0", "a\\b": "a\\b", "a\r\n": '"a\\r\\n"', "a \nb": '"a \\nb"', "=": "=", "1.2.3": "1.2.3", "0.0.0.0": "0.0.0.0",
    "08": '"08"', "09": '"09"', "1:2:3.5": "'1:2:3.5'", "on": "'on'", "Off": "'Off'", ".inf": '".inf"', "inf": "inf",
    "\u202e": "\u202e", "\ufeff": '"\\uFEFF"', "CMD-SHELL": "CMD-SHELL", "$$HOME": "$$HOME", ",": "','", "a,b": "a,b",
}  # fmt: skip


@pytest.mark.parametrize("text", PRINTED)
def test_strings_are_quoted_as_docker_compose_does(text: str) -> None:
    assert quoted(text) == PRINTED[text]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": "x\ny\n"}, "a: |\n  x\n  y\n"),
        ({"a": "x\n\ny"}, "a: |-\n  x\n\n  y\n"),
        ({"a": "x\n\n"}, "a: |+\n  x\n\n"),
        ({"a": " x\ny\n"}, "a: |2\n   x\n  y\n"),
        ({"a": [["x", []], {"b": {"c": 1}}, {}]}, "a:\n  - - x\n    - []\n  - b:\n      c: 1\n  - {}\n"),
        ({"a": ["x\ny"]}, "a:\n  - |-\n    x\n    y\n"),
        ({"a": "\na"}, "a: |-\n\n  a\n"),
        ({"a": "\n\n"}, 'a: "\\n\\n"\n'),
        ({"a": "x " * 38 + "xy y z"}, "a: " + "x " * 38 + "xy\n  y z\n"),
        ({"a": "x" * 90 + "  z"}, "a: " + "x" * 90 + "  z\n"),
        (["#" + " 'x" * 40], "- '#" + " ''x" * 20 + "\n  ''x" + " ''x" * 19 + "'\n"),
        (["\t" + "  x" * 50], '- "\\t' + "  x" * 26 + "\n  \\ x" + "  x" * 23 + '"\n'),
        ({"k" * 129: 1}, f"? {'k' * 129}\n: 1\n"),
        ({"k" * 129: {"a": 1}}, f"? {'k' * 129}\n: a: 1\n"),
        ({}, "{}\n"),
        ({"a": None, "b": True, "c": 1.5}, "a: null\nb: true\nc: 1.5\n"),
    ],
)
def test_layout(value: Any, text: str) -> None:
    assert document(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.5, "1.5"), (1e6, "1e+06"), (123456.5, "123456.5"), (1234567.0, "1.234567e+06"), (0.0001, "0.0001"), (-2.5, "-2.5"),
        (1.234e-05, "1.234e-05"), (1e21, "1e+21"), (3.0, "3"), (0.0, "0"), (math.inf, ".inf"), (-math.inf, "-.inf"),
    ],
)  # fmt: skip
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text
    assert number(math.nan) == ".nan"


def test_keys_are_sorted_as_people_do() -> None:
    keys = ["web10", "web2", "web", "A_B", "AB", "b", "B", "a.b", "ab", "web-1", "web02"]
    assert sorted_keys(keys) == ["A_B", "AB", "B", "a.b", "ab", "b", "web", "web-1", "web2", "web02", "web10"]


TEXT = st.one_of(
    st.text(max_size=8),
    st.text("aA1.-:#\n \t'\"\\,[]{}&*!|>%@`?~=\x85\u2028", max_size=6),
    st.sampled_from(sorted(PRINTED)),
).filter(lambda text: text != "=" and not ("\n" in text and "\t" in text))  # both of which PyYAML cannot read back
TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
)


@given(TREES)
def test_yaml_round_trip(value: Any) -> None:
    assert yaml.load(document(value), yaml.CSafeLoader) == value


@given(st.lists(st.text("aA_.019-é", max_size=4), unique=True))
def test_the_order_does_not_depend_on_the_order_before(keys: list[str]) -> None:
    assert sorted_keys(keys) == sorted_keys(reversed(keys))
