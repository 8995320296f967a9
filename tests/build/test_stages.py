import pytest

from engine.build.lex import lex
from engine.build.parse import parse
from engine.build.stages import arrange, order
from engine.errors import BuildFailed


def load(text, args=None):
    source = lex(text)
    return arrange(source, parse(source), args or {}, {"TARGETARCH": "amd64"})


DIAMOND = """ARG V=1
FROM base:${V} AS one
FROM one AS two
FROM scratch AS unused
FROM other AS three
COPY --from=two /a /a
FROM scratch
COPY --from=three /a /a
RUN --mount=type=bind,from=one,target=/x true
FROM scratch AS later
"""


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("one", ["one"]),
        ("two", ["one", "two"]),
        ("three", ["one", "two", "three"]),
        ("4", ["one", "two", "three", "stage-4"]),
        ("later", ["later"]),
        ("LATER", ["later"]),
    ],
)
def test_unneeded_stages_are_skipped(target, expected):
    found = load(DIAMOND)
    assert [stage.title for stage in order(found, found.numbered(target))] == expected


def test_arguments_before_from():
    assert load("ARG A=x\nARG B=${A}y\nFROM $B").stages[0].image == "xy"
    assert load("ARG A=x\nARG B=${A}y\nFROM $B", {"A": "z"}).stages[0].image == "zy"
    assert load("FROM img-$TARGETARCH").stages[0].image == "img-amd64"
    # An ARG of a stage does not affect a later FROM.
    assert load("FROM a\nARG X=1\nFROM b${X:-none}").stages[1].image == "bnone"


def test_last_stage_of_a_name_wins():
    found = load("FROM a AS x\nFROM b AS X\nFROM x")
    assert (found.stages[2].base, found.find("x").index) == (1, 1)


def test_triggers_of_a_base_need_stages():
    found = load("FROM a AS b\nONBUILD COPY --from=other /o /o\nFROM a AS other\nFROM b")
    assert [stage.title for stage in order(found, found.stages[2])] == ["b", "other", "stage-2"]


def test_a_context_replaces_a_stage():
    found = arrange(
        lex(text := "FROM a AS x\nRUN false\nFROM scratch\nCOPY --from=x / /"), parse(lex(text)), {}, {}, ["x"]
    )
    assert [stage.title for stage in order(found, found.stages[1])] == ["stage-1"]


def test_a_later_stage_of_the_name_is_not_the_base():
    found = load("FROM a AS a\nFROM a AS b\nFROM a")
    assert [stage.base for stage in found.stages] == [None, 0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Dockerfile:1: the Dockerfile is empty"),
        ("ARG A=1", "no FROM"),
        ("RUN x\nFROM a", "Dockerfile:1: no build stage in current context"),
        ("FROM $NOPE", r"Dockerfile:1: base name \(\$NOPE\) should not be blank"),
        ("FROM ${", "Dockerfile:1: .*missing '}'"),
        ("FROM a\nCOPY --from=9 a b", "Dockerfile:2: invalid stage index 9"),
        ("FROM a AS x\nCOPY --from=y a b\nFROM a AS y", "Dockerfile:2: invalid from flag value y"),
        ("FROM a AS x\nCOPY --from=x a b", "a stage can only use stages above it"),
    ],
)
def test_errors_are_located(text, message):
    with pytest.raises(BuildFailed, match=message):
        found = load(text)
        order(found, found.stages[0])
