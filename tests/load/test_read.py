"""YAML as trees: positions, anchors, merge keys, resets; and hostile files."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from composer.load.errors import LoadError
from composer.load.read import content
from composer.load.read import documents as reading
from composer.load.read.documents import documents
from composer.load.tree.nodes import Map, origin_at


def root(text: str) -> Map:
    (document,) = documents(text.encode(), "f.yaml")
    return document.root


def refused(text: str | bytes) -> str:
    with pytest.raises(LoadError) as error:
        documents(text if isinstance(text, bytes) else text.encode(), "f.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("yes", "yes"),
        ("off", "off"),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("+3", 3),
        ("0x1F", 31),
        ("0o17", 15),
        ("0777", 511),
        ("0b101", 5),
        ("1_000", 1000),
        ("099", 99.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1e400", "1e400"),
        ("12:30", "12:30"),
        ("1.2.3", "1.2.3"),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", 18446744073709551616.0),
        ("0x" + "f" * 17, "0x" + "f" * 17),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("!!int '12'", 12),
        ("!!float 3", 3.0),
        ("!anything 3", "3"),
        ("! 3", "3"),
        ("!!binary eA==", "x"),
        ("'2001-01-01'", "2001-01-01"),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    found = root(f"a: {text}\n")["a"]
    assert found == value
    assert type(found) is type(value)


def test_not_a_number() -> None:
    assert math.isnan(root("a: .nan")["a"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-1-5", "2024-01-05 00:00:00 +0000 UTC"),
        ("2024-01-01 1:2:3.1234567891", "2024-01-01 01:02:03.123456789 +0000 UTC"),
        ("2024-01-01T10:00:00.500+02:00", "2024-01-01 10:00:00.5 +0200 +0200"),
        ("2024-01-01T10:00:00Z", "2024-01-01 10:00:00 +0000 UTC"),
        ("2024-02-30", "2024-02-30"),
        ("2024-01-01 10:00:00Z", "2024-01-01 10:00:00Z"),
        ("2024-01-01T10:00:00", "2024-01-01T10:00:00"),
        ('"2024-01-01"', "2024-01-01"),
    ],
)
def test_dates_where_any_scalar_will_do(text: str, value: str) -> None:
    """As Docker Compose writes them, twice, because values are remembered."""
    found = root(f"environment: {{A: {text}, B: {text}}}\nx-a: {text}\n")["environment"]
    assert dict(found) == {"A": value, "B": value}


def test_places_of_entries() -> None:
    tree = root("services:\n  web:\n    image: x\n    ports:\n      - 80\n      - {target: 81}\n")
    assert str(origin_at(tree, ("services", "web", "image"))) == "f.yaml:3:5"
    assert str(origin_at(tree, ("services", "web", "ports", 0))) == "f.yaml:5:9"
    assert str(origin_at(tree, ("services", "web", "ports", 1, "target"))) == "f.yaml:6:10"
    assert str(origin_at(tree, ("services", "web", "nothing"))) == "f.yaml:2:3"


def test_aliases_are_copies() -> None:
    tree = root("a: &x {b: [1]}\nc: *x\n")
    tree["a"]["b"].append(2)
    assert tree["c"] == {"b": [1]}
    assert str(origin_at(tree, ("c", "b"))) == "f.yaml:1:8"


def test_an_anchor_may_be_defined_again() -> None:
    assert root("a: &x 1\nb: *x\nc: &x 2\nd: *x\n") == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_merge_keys() -> None:
    tree = root("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}\nd: {<<: *a, x: null}\n")
    assert tree["c"] == {"x": 1, "y": 1, "z": 3}
    assert tree["d"] == {"x": None, "y": 1}
    assert str(origin_at(tree, ("c", "x"))) == "f.yaml:1:8"
    assert root("a: {'<<': 1}\n") == {"a": {"<<": 1}}


def test_resets() -> None:
    (document,) = documents(
        b"a: &a {b: !reset null, c: !override [1], d: 1}\ne: {<<: *a, f: !reset }\ng: [1, !reset 2]\n", "f"
    )
    assert document.root == {"a": {"c": [1], "d": 1}, "e": {"c": [1], "d": 1}, "g": [1]}
    assert set(document.resets) >= {("a", "b"), ("a", "c"), ("e", "c"), ("e", "f")}


def test_documents() -> None:
    assert [document.root for document in documents(b"a: 1\n---\nb: 2\n...\n", "f")] == [{"a": 1}, {"b": 2}]
    assert documents(b"", "f") == documents(b"# nothing\n", "f") == []


def test_encodings() -> None:
    assert documents("a: ü".encode("utf-8-sig"), "f")[0].root == {"a": "ü"}
    assert documents("a: ü".encode("utf-16"), "f")[0].root == {"a": "ü"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: a: key 'a' is already defined at line 1"),
        ("services:\n  1: x\n", 'f.yaml:2:3: non-string key in services: 1\n  write "1" to get a string'),
        ("a: {{ x }}\n", "f.yaml:1:5: non-string key in a: { x }}\n  put text that starts with { or [ in quotes"),
        ("- a\n", "f.yaml:1:1: top-level object must be a mapping, found a sequence"),
        ("a: 1\n---\n", "f.yaml:2:1: top-level object must be a mapping, found nothing"),
        ("a: &a {b: *a}\n", "f.yaml:1:11: cycle detected: anchor 'a' contains itself"),
        ("a: &one 1\nb: *onee\n", "f.yaml:2:4: unknown anchor 'onee'\n  did you mean 'one'?"),
        ("a: {<<: 1}\n", "f.yaml:1:10: a.<<: a merge key takes a mapping or a sequence of mappings"),
        ("a: {<<: {}, <<: {}}\n", "f.yaml:1:13: a.<<: key '<<' is already defined at line 1"),
        ("a: 2001-01-01\n", "f.yaml:1:4: a: 2001-01-01 is a date in YAML, which this key does not accept\n"
         '  write "2001-01-01" to get a string'),
        ("a: !!int x\n", "f.yaml:1:4: cannot read 'x' as a !!int"),
        ("a:\n\t- b\n", "f.yaml:2:1: not YAML: found character that cannot start any token"
         " (while scanning for the next token)\n  indent with spaces, not with tabs"),
        ("a: [b,\n  c\n", "f.yaml:3:1: not YAML: did not find expected ',' or ']'"
         " (while parsing a flow sequence that begins on line 1)"
         "\n  a bracket is not closed; inside brackets, quote text that contains a comma or bracket"),
        ("a: `b`\n", "f.yaml:1:4: not YAML: found character that cannot start any token"
         " (while scanning for the next token)\n  quote text that starts with `"),
        ("a: \x00\n", "f.yaml:1:4: not YAML: character U+0000 is not allowed"),
        ("a: b\nc: \x1b[1m\n", "f.yaml:2:4: not YAML: character U+001B is not allowed"),
    ],
)  # fmt: skip
def test_refused(text: str, message: str) -> None:
    assert refused(text) == message


def test_bytes_that_are_not_text() -> None:
    assert refused(b"a: b\nc: \xff\n") == "f.yaml:2:4: byte 0xff is not UTF-8 (invalid start byte)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [x, x, x, x, x, x, x, x, x]\n"
         + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)),
         "with aliases written out"),
        ("a: " + "[" * 100_000, "nested deeper|nesting depth"),
        ("a: " + "[" * 900 + "]" * 900, "nested deeper"),
        ("".join(" " * i + "a:\n" for i in range(2000)), "nested deeper"),
        ("a:\n" + "- a\n" * (reading.MAX_NODES + 1), "more than"),
    ],
    ids=["aliases", "brackets", "balanced", "indents", "items"],
)  # fmt: skip
def test_bombs_are_refused_in_time(text: str, message: str) -> None:
    before = time.process_time()
    with pytest.raises(LoadError, match=message):
        documents(text.encode(), "f.yaml")
    assert time.process_time() - before < 4  # 1 second on an idle machine


def test_large_files_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    with file.open("wb") as stream:
        stream.truncate(50 << 20)
    with pytest.raises(LoadError, match="more than 16777216 bytes"):
        content.read_bytes(str(file))


def test_referenced_paths_must_be_files(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="not a regular file"):
        content.read_bytes("/dev/zero", named=False)
    with pytest.raises(LoadError, match="is a directory"):
        content.read_bytes(str(tmp_path))
    with pytest.raises(LoadError, match=r"gone\.yaml: no such file"):
        content.read_bytes(str(tmp_path / "gone.yaml"))


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co", "Zl", "Zp")), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(WORDS, VALUES, min_size=1, max_size=5), st.sampled_from((None, 1, 4)))
@settings(max_examples=60)
def test_json_is_yaml(value: dict[str, Any], indent: int | None) -> None:
    assert root(json.dumps(value, indent=indent, ensure_ascii=False)) == value


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@,? \n\t<~1", max_size=60))
@settings(max_examples=300)
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    try:
        documents(text.encode(), "f.yaml")
    except LoadError as error:
        assert str(error).startswith("f.yaml:")
