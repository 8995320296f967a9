"""Variables in text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.load.read.interpolation.expressions import TemplateError, Variable, substitute

KNOWN = {"SET": "value", "EMPTY": "", "JSON": '{"a": 1}'}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$SET", "value"),
        ("${SET}", "value"),
        ("a${SET}b$SET-c", "avaluebvalue-c"),
        ("$UNSET|${UNSET}", "|"),
        ("${UNSET:-d}${EMPTY:-d}${SET:-d}", "ddvalue"),
        ("${UNSET-d}${EMPTY-d}${SET-d}", "dvalue"),
        ("${UNSET:+o}${EMPTY:+o}${SET:+o}", "o"),
        ("${UNSET+o}${EMPTY+o}${SET+o}", "oo"),
        ("${SET:?e}${SET?e}${EMPTY?e}", "valuevalue"),
        ("${UNSET:-${ALSO:-$SET}}", "value"),
        ("${UNSET:-${SET} ${EMPTY:-x}} y", "value x y"),
        ("${SET:+${UNSET:-in} $SET}", "in value"),
        ("$$", "$"),
        ("$${SET} $$SET", "${SET} $SET"),
        ("${UNSET:-$$x}", "$x"),
        ("${UNSET:-a:-b}", "a:-b"),
        ("${UNSET:-}", ""),
        ('${UNSET:-{"k":"v"}} after', '{"k":"v"} after'),
        ("$JSON", '{"a": 1}'),
        ("a $ b", "a $ b"),
        ("cost: 5$", "cost: 5$"),
        ("^x$|$}", "^x$|$}"),
        ("${UNSET:-one}\n${UNSET:-two}", "one\ntwo"),
        ("$set", ""),
        ("$1", "$1"),
    ],
)
def test_replaced(text: str, expected: str) -> None:
    assert substitute(text, KNOWN) == expected


@pytest.mark.parametrize("text", ["${", "${}", "${ SET}", "${SET }", "${SET!x}", "${1}", "${UNSET:-a\nb}", "x ${A"])
def test_text_without_a_template(text: str) -> None:
    with pytest.raises(TemplateError) as error:
        substitute(text, KNOWN)
    assert not error.value.variable


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${UNSET:?why not}", "required variable UNSET is missing a value: why not"),
        ("${UNSET?}", "required variable UNSET is missing a value"),
        ("${EMPTY:?is $SET}", "required variable EMPTY is missing a value: is value"),
    ],
)
def test_required(text: str, message: str) -> None:
    with pytest.raises(TemplateError, match="required") as error:
        substitute(text, KNOWN)
    assert str(error.value) == message
    assert error.value.variable in ("UNSET", "EMPTY")


def test_missing_variables_are_reported_unless_they_have_a_default() -> None:
    missing: list[str] = []
    substitute("$A ${B:-x} ${C} ${D:-$E} $SET", KNOWN, missing.append)
    assert missing == ["A", "C", "E"]


def test_every_use_is_reported() -> None:
    uses: list[Variable] = []
    substitute("$A ${B:-x${C?}} ${D+y}", {"C": "c"}, seen=uses.append)
    told = {use.name: (use.required, use.default, use.alternate) for use in uses}
    assert told == {
        "A": (False, None, None),
        "B": (False, "x${C?}", None),
        "C": (True, None, None),
        "D": (False, None, "y"),
    }


def test_nesting_is_bounded() -> None:
    with pytest.raises(TemplateError, match="deeper"):
        substitute("${A:-" * 100 + "x" + "}" * 100, {})


@given(st.text(alphabet="$A{}:-+?x\n ", max_size=60))
def test_any_text_is_replaced_or_refused(text: str) -> None:
    try:
        found = substitute(text, {"A": "v"})
    except TemplateError:
        return
    if "$" not in text:
        assert found == text


@given(st.text())
def test_doubled_dollars_come_back(text: str) -> None:
    assert substitute(text.replace("$", "$$"), {}) == text


def test_unused_variables_are_not_required() -> None:
    known = {"SET": "value"}
    assert substitute("${SET:-${UNSET?inner}}${UNSET:+${UNSET?inner}}${SET:?${UNSET?inner}}", known) == "valuevalue"
    with pytest.raises(TemplateError, match="inner"):
        substitute("${UNSET:-${UNSET?inner}}", known)
    with pytest.raises(TemplateError):
        substitute("${SET:-${}}", known)
