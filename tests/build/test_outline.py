"""The inputs that a build accepts; the expectations are BuildKit's answers (Docker Engine 28.5)."""

import pytest

from engine.build import outline_of, targets
from engine.errors import BuildFailed
from engine.spec.image import BuildSpec

DOCKERFILE = """\
# GLOBAL is for all
ARG GLOBAL=1.0
ARG BASE=scratch
ARG OLD=$GLOBAL
ARG UNUSED=1

# other words first
# build compiles
FROM ${BASE} AS build
# VERSION of the thing
ARG VERSION=v$OLD OTHER
RUN --mount=type=secret,id=tok,required --mount=type=secret,target=/x/opt true
RUN --mount=type=ssh --mount=type=ssh,id=work,required true

FROM --platform=$BUILDPLATFORM scratch
ARG ELSEWHERE=1

FROM scratch AS data
ARG DATA=2

FROM build AS second
ARG OLD
ENV NAME=me
ARG WHO=$NAME
COPY --from=data / /
"""


@pytest.fixture
def spec(context):
    def make(text=DOCKERFILE, **fields):
        context.write({"Dockerfile": text})
        return BuildSpec(context=str(context.path), **fields)

    return make


def told(parameters):
    return [(one.name, one.value, one.description) for one in parameters]


def test_outline_lists_arguments_of_base_stages(images, spec):
    found = outline_of(spec(), images=images)
    assert (found.name, found.description, found.text) == ("second", "", DOCKERFILE)
    assert told(found.args) == [
        ("GLOBAL", "1.0", "is for all"),
        ("BASE", "scratch", ""),
        ("OLD", "1.0", ""),
        ("VERSION", "v", "of the thing"),
        ("OTHER", "", ""),
        ("DATA", "2", ""),
        ("WHO", "me", ""),
    ]
    assert [(one.name, one.required) for one in found.secrets] == [("tok", True), ("opt", False)]
    assert [(one.name, one.required) for one in found.ssh] == [("default", False), ("work", True)]
    assert found.args[3].start == 11


def test_given_values_and_another_target(images, spec):
    found = outline_of(spec(target="build", args={"VERSION": "9", "BASE": "data"}), images=images)
    assert (found.name, found.description) == ("build", "compiles")
    assert told(found.args)[:2] == [("BASE", "data", ""), ("VERSION", "9", "of the thing")]
    with pytest.raises(BuildFailed, match="'nope' could not be found"):
        outline_of(spec(target="nope"), images=images)


def test_the_argument_of_a_later_stage_hides_that_of_its_base(images, spec):
    found = outline_of(spec("FROM scratch AS a\nARG V=1\nFROM a\nARG V=2\n"), images=images)
    assert told(found.args) == [("V", "2", "")]
    assert found.args[0].start == 4


def test_a_wrong_mount_has_its_place(images, spec):
    with pytest.raises(BuildFailed, match=r"Dockerfile:2: .*needs an id"):
        outline_of(spec("FROM scratch\nRUN --mount=type=secret true\n"), images=images)


def test_the_stages(images, spec):
    found = targets(spec(), images=images).targets
    assert [(one.name, one.default, one.description, one.base, one.platform) for one in found] == [
        ("build", False, "compiles", "${BASE}", ""),
        ("", False, "", "scratch", "$BUILDPLATFORM"),
        ("data", False, "", "scratch", ""),
        ("second", True, "", "build", ""),
    ]
    assert [one.start for one in found] == [9, 15, 18, 21]
