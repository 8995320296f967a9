"""Which paths of the context a Dockerfile can read (engine.build.context_paths)."""

import pytest

from engine.build.context_paths import context_paths
from engine.build.lex import lex
from engine.spec.image import ImageConfig, ImageRecord

IMAGES = {
    "busybox": ImageRecord(id="sha256:1"),
    "triggers": ImageRecord(id="sha256:2", config=ImageConfig(on_build=("COPY . /",))),
}


def paths(text, **contexts):
    return context_paths(lex(text), contexts, IMAGES.get)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM busybox\n", []),
        ("FROM scratch\nCOPY a ./b/ /c/../d *.txt /x/\n", ["a", "b", "d", "*.txt"]),
        ("FROM busybox AS one\nADD https://x/y git@host:z e /\nFROM one\nCOPY --from=one /q /\n", ["e"]),
        ("FROM busybox\nRUN --mount=type=bind,source=src,target=/s --mount=type=cache,target=/c true\n", ["src"]),
        ("FROM busybox\nRUN --mount=from=other,target=/s true\nCOPY <<EOF /x\nhello\nEOF\n", []),
        ("FROM busybox\nONBUILD COPY . /\n", []),
    ],
)
def test_the_paths_that_instructions_name(text, found):
    assert paths(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "FROM busybox\nCOPY . /\n",
        "FROM busybox\nCOPY ../.. /\n",
        "ARG F=x\nFROM busybox\nARG F\nCOPY $F /\n",
        "FROM busybox\nCOPY [a]b /\n",
        "FROM busybox\nRUN --mount=target=/src true\n",
        "FROM busybox\nRUN --mount=type=bind,source=$S,target=/s true\n",
        "FROM triggers\nCOPY a /\n",
        "FROM absent\nCOPY a /\n",
        "ARG I=busybox\nFROM $I\nCOPY a /\n",
    ],
)
def test_any_path_is_parsed(text):
    assert paths(text) is None


def test_a_base_that_is_a_context():
    assert paths("FROM base\nCOPY a /\n", base="docker-image://busybox") == ["a"]
    assert paths("FROM base\nCOPY a /\n", base="docker-image://triggers") is None
    assert paths("FROM base\nCOPY a /\n", base="/folder") is None
