"""Any mutation of a project's text gives a project, or a clear message with a position; never a traceback, nor a
message that controls the terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from composer.load.errors import LoadError
from composer.load.project import LoadOptions, load_tree

GOLDEN = Path(__file__).parents[1] / "cli" / "config" / "golden"
ANCHORED = """\
services:
  web:
    build: .
    environment:
      - A=1
      - B
    ports:
      - 80:80
    deploy:
      replicas: 2
  db: &db
    image: pg:${TAG:-1}
    volumes: [data:/x]
  other:
    <<: *db
volumes:
  data: {}
networks: {n: {}}
"""
TEXTS = [ANCHORED, *((folder / "compose.yaml").read_text() for folder in sorted(GOLDEN.iterdir()))]
TOKENS = [
    "\x00", "\x1b[31m", "\u202e", "\t", "\n", " ", "- ", ": ", "{", "}", "[", "]", "&a ", "*a", "!reset ", "!override ", "<<: ",
    '"', "'", "|", ">", "%", "@", "`", "#", "---\n", "${", "$", "0x", "1e999", ".nan", "é", "😀", "null", "~", "true", "9" * 25,
    "services:", "image:", "? ", "2001-01-01", "x-", "\r", "\x85", "\u2028", "[[[[", "''", "-1", "{a: 1}", "[1]", "i- -n: text\n",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(text)))
        lines = text.split("\n")
        number = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 4)):
            case 0 | 1:
                text = text[:place] + draw(st.sampled_from(TOKENS)) + text[place:]
            case 2:
                text = text[:place] + text[place + draw(st.integers(1, 12)) :]
            case 3:
                lines[number] = " " * draw(st.integers(0, 8)) + lines[number].strip()
                text = "\n".join(lines)
            case 4:
                lines[number] = re.sub(
                    ":.*", lambda match: f": {draw(st.sampled_from(TOKENS))}", lines[number], count=1
                )
                text = "\n".join(lines)
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mutated")
    (folder / "some.env").touch()
    return folder


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=mutated())
def test_a_mutated_project_is_read_or_refused(folder: Path, text: str) -> None:
    file = folder / "compose.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load_tree(LoadOptions(files=(str(file),), project_name="p", environ={}))
    except LoadError as error:
        message = str(error)
        assert re.search(r"compose\.yaml(:\d+:\d+)?: ", message), message
        assert all(character == "\n" or character.isprintable() for character in message), ascii(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services:\n  web\u202e: 1\n", "compose.yaml:2:3: "),
        ("services: {}\nnetworks:\n  a b: text\n", "compose.yaml:3:3: networks.a b must be a mapping"),
        ("services:\n  web:\n    build: true\n", "compose.yaml:3:5: services.web.build must be a string or a mapping"),
        ("services: {web: {image: x, ports: ['0']}}\n", "compose.yaml:1:36: services.web.ports[0]: port 0"),
        ("services: {web: {image: x, ulimits: {a: {soft: x}}}}\n", "compose.yaml:1:42: services.web.ulimits.a.soft: "),
    ],
)
def test_each_error_is_reported_with_its_place(folder: Path, text: str, message: str) -> None:
    file = folder / "compose.yaml"
    file.write_text(text)
    with pytest.raises(LoadError) as caught:
        load_tree(LoadOptions(files=(str(file),), project_name="p", environ={}))
    assert message in str(caught.value) and "\u202e" not in str(caught.value)
