"""JSON text, and trees without the specification's order; whole projects in both formats are in tests/cli/config/golden."""

from __future__ import annotations

from typing import Any

import pytest

from composer.cli.render.layout import sorted_json, sorted_yaml, to_json, to_yaml
from composer.load.check.validate import document
from composer.load.keys import SERVICE
from composer.load.tree.nodes import Fields, Map
from composer.load.tree.text import marshalled

TREE = Fields(
    {
        "name": "a",
        "services": Map({"web2": Fields({"image": "x", "command": None, "x-a": 1}), "web10": Fields({"image": "y"})}),
        "models": Map({"m": Fields({"model": "q"})}),
        "x-b": {"d": 1, "c": 2},
    }
)


def test_yaml_keeps_the_order_of_fields_and_sorts_names() -> None:
    assert to_yaml(TREE) == (
        "name: a\nservices:\n  web2:\n    image: x\n    x-a: 1\n  web10:\n    image: 'y'\n"
        "models:\n  m:\n    model: q\nx-b:\n  c: 2\n  d: 1\n"
    )  # fmt: skip


def test_json_has_no_extensions_below_the_top_and_no_models() -> None:
    text = to_json(TREE)
    assert (
        text.index('"name"')
        < text.index('"services"')
        < text.index('"web10"')
        < text.index('"web2"')
        < text.index('"x-b"')
    )
    assert "x-a" not in text and "models" not in text and '"command": null' in text


def test_every_key_of_the_schema_has_its_place() -> None:
    service = document()["$defs"]["service"]["properties"].keys() - {"pre_start", "pull_refresh_after"}
    assert service <= SERVICE.fields.keys()


def test_sorted_trees_know_no_order() -> None:
    tree = {"services": {"b": {"image": "x", "build": "."}}, "name": "a"}
    assert sorted_yaml(tree) == "name: a\nservices:\n  b:\n    build: .\n    image: x\n"
    assert sorted_json({"args": [], "b": []}).split() == '{ "args": null, "b": [] }'.split()
    assert sorted_json({"b": 1, "a": [{"d": 1, "c": 2}]}).split() == '{ "a": [ { "c": 2, "d": 1 } ], "b": 1 }'.split()


@pytest.mark.parametrize(
    ("value", "text"),
    [("<&>\u2028", '"\\u003c\\u0026\\u003e\\u2028"'), (1.0, "1"), (0.5, "0.5"), ("é\x01", '"é\\u0001"'), ([], "[]")],
)
def test_json_text(value: Any, text: str) -> None:
    assert marshalled(value, 2) == text
