"""Every key of the specification is supported, refused or ignored; docs/compatibility.md lists which, and why."""

import copy
import re
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from composer.load.check.no_effect import BY_PRESENCE, OF_FILES, effects
from composer.model import ModelError, Project
from composer.plan.translate import TranslateError, keys, translate
from tests.plan import schema

HERE = Path(__file__).parent / "keys"
BASE = yaml.safe_load((HERE / "base.yaml").read_text())
CHANGES = yaml.safe_load((HERE / "changes.yaml").read_text())
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "compatibility.md"

NAMED = {"networks", "depends_on", "models", "ulimits"}
"""Names that users choose below a service."""


def pattern_of(path):
    """("services", "web", "ports", 0, "target") → ("services", "*", "ports", "*", "target")"""
    return tuple(
        "*" if index == 1 or key.isdigit() or (index > 2 and path[index - 1] in NAMED) else key
        for index, key in enumerate(path)
    )


def changed(path, value, base=BASE):
    tree = copy.deepcopy(base)
    if isinstance(value, dict) and "replace" in value:
        path, value = value["replace"].split("."), value["by"]
    node = tree
    for key in path[:-1]:
        if isinstance(node, list):
            while len(node) <= int(key):
                node.append({})
            node = node[int(key)]
        else:
            following = path[path.index(key) + 1]
            if node.get(key) is None:
                node[key] = [] if following.isdigit() else {}
            node = node[key]
    node[path[-1]] = value
    return tree


def wanted(tree):
    """Without hash and summary, which change with every key, honoured or not."""
    desired = translate(Project.parse(tree, working_dir="/project", environ={"HOME": "/root"}))
    plain = msgspec.to_builtins(desired)
    swarm = [line.replace('service "', "services.").replace('": ', ".") for line in effects(tree)]
    plain["warnings"] = [*plain.get("warnings", {}), *swarm]
    for service in plain["services"].values():
        (
            service.pop("hash"),
            service.pop("summary"),
            service["container"]["labels"].pop("com.docker.compose.config-hash"),
        )
    return plain


def documented():
    """Key → status and text in the document's tables."""
    rows = {}
    for line in DOCUMENT.read_text().splitlines():
        match = re.fullmatch(r"\| `([^`]+)` \| ([a-z ]+) \|(.*)\|", line)
        if match:
            rows[tuple(match[1].split("."))] = (match[2], match[3].strip())
    return rows


def covering(rows, pattern):
    """The row of the key, or of the nearest key above whose row covers all keys below."""
    while pattern:
        if pattern in rows:
            return rows[pattern]
        pattern = pattern[:-1]
    return None


def is_leaf(pattern, everything):
    return not any(other[: len(pattern)] == pattern and other != pattern for other in everything)


BEFORE = {
    # Not in the canonical form, where other keys have their meaning.
    ("services", "*", "env_file"), ("services", "*", "label_file"), ("services", "*", "extends"),
    ("services", "*", "profiles"),
    ("configs", "*", "external", "name"), ("secrets", "*", "external", "name"), ("networks", "*", "external", "name"),
    ("volumes", "*", "external", "name"),
}  # fmt: skip
ELSEWHERE = {("services", "*", "develop")}
"""Read from the model by the command that acts on it (composer/cli/commands/watch.py)."""


def test_base_case_has_no_problems():
    plain = wanted(BASE)
    assert not plain.get("warnings")
    assert not [line for service in plain["services"].values() for line in service.get("refused", ())]


@pytest.mark.parametrize("dotted", sorted(CHANGES))
def test_a_key_has_an_effect(dotted):
    path = dotted.split(".")
    status, _ = covering(documented(), pattern_of(path))
    plain = wanted(changed(path, CHANGES[dotted]))
    refused = [line for service in plain["services"].values() for line in service.get("refused", ())]
    ignored = plain.get("warnings", ())
    if status == "refused":
        assert [line for line in refused if ".".join(path[:3]) in line or f"{path[1]!r} is external" in line]
    elif status == "ignored":
        assert any(".".join(path[:3]) in line for line in ignored)
    elif status != "information":
        assert plain != wanted(BASE)


@settings(max_examples=100, deadline=None)
@given(st.sets(st.sampled_from(sorted(CHANGES)), min_size=2, max_size=8))
def test_any_combination_is_translated(chosen):
    """Any combination gives a project, refusals, or the message about a cycle; never another error."""
    tree = BASE
    for dotted in sorted(chosen):
        try:
            tree = changed(dotted.split("."), CHANGES[dotted], tree)
        except (TypeError, ValueError, IndexError):
            continue  # the one has replaced what the other would change
    try:
        translate(Project.parse(tree, working_dir="/project", environ={"HOME": "/root"}))
    except (ModelError, TranslateError) as error:
        assert str(error)


def test_every_key_is_tried():
    everything = schema.keys()
    tried = {pattern_of(dotted.split(".")) for dotted in CHANGES}
    rows = documented()
    missing = {
        pattern
        for pattern in everything
        if is_leaf(pattern, everything)
        and pattern not in tried
        and not any(pattern[: len(known)] == known for known in BEFORE | ELSEWHERE)
        and covering(rows, pattern)[0] != "information"
    }
    assert not missing


def test_the_document_names_every_key_and_no_other():
    everything = schema.keys()
    rows = documented()
    assert not {".".join(key) for key in everything if covering(rows, key) is None}
    top = {("name",), ("version",), ("include",), ("services",), ("x-*",)}
    assert not {".".join(row) for row in rows if row not in everything | top}


def test_documentation_matches_the_tables():
    rows = documented()
    said = {status: {row for row, (word, _) in rows.items() if word == status} for status in ("refused", "ignored")}
    everything = schema.keys()
    assert {row for row in keys.REFUSED if row in everything} <= said["refused"]
    swarm = {("services", "*", *path) for path in BY_PRESENCE} | {(kind, "*", key) for kind, key in OF_FILES}
    ignored = {*keys.IGNORED, *swarm}
    assert {row for row in ignored if row in everything} <= said["ignored"]
    assert said["ignored"] <= ignored


def test_every_key_of_a_service_has_its_row():
    rows = documented()
    assert not {key for key in schema.SCHEMA["$defs"]["service"]["properties"] if ("services", "*", key) not in rows}


def test_every_row_says_why():
    for row, (status, words) in documented().items():
        assert status in ("works", "differs", "refused", "ignored", "information")
        assert words or status == "works", row


@pytest.mark.parametrize(
    ("key", "value"),
    [("restart", "on-failure:²"), ("expose", ["²"]), ("ports", [{"target": 80, "published": "²"}])],
)
def test_digits_that_int_refuses_are_no_numbers(key, value):
    """str.isdigit is true for superscripts."""
    desired = translate(
        Project.parse({"name": "demo", "services": {"web": {"image": "x", key: value}}}, working_dir="/p")
    )
    assert "²" in str(desired.services["web"].refused)
