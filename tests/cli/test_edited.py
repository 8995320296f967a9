"""A project whose files were edited: only changed content is translated again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from composer.cli.parsing.flags import parse
from composer.cli.parsing.options import GLOBAL
from composer.cli.project.context import Context

TOP = Path(__file__).resolve().parents[2]
TEXT = """\
services:
  web:
    image: web:${TAG:-1}
    depends_on: [db]
    configs: [conf]
    deploy: {placement: {constraints: [a]}}
  db: {image: db, cpu_count: 2}
configs:
  conf: {environment: CONF}
"""


@pytest.fixture
def desired(tmp_path, monkeypatch):
    """The desired state of the project in `tmp_path`, from a new command each time; the file gets `text`, written long
    ago."""
    monkeypatch.chdir(tmp_path)
    times = iter(range(10**18, 2 * 10**18, 10**9))

    def load(text=None, *, files=None, **environ):
        for name, content in {**({"compose.yaml": text} if text else {}), **(files or {})}.items():
            Path(name).write_text(content)
            os.utime(name, ns=(stamp := next(times), stamp))
        context = Context(
            parse(GLOBAL, []),
            open_engine=lambda roots: None,
            environ={"COMPOSER_STATE_ROOT": str(tmp_path / "s"), "COMPOSER_RUN_ROOT": str(tmp_path / "r"), **environ},
            stderr=open(os.devnull, "w"),
        )
        return context.desired

    return load


def test_unchanged_content_reuses_translation(desired, monkeypatch):
    before = desired(TEXT, CONF="a")
    monkeypatch.setattr("composer.plan.translate.translation", None)
    after = desired("# a comment\n" + TEXT, CONF="a")
    assert after.services["web"].container == before.services["web"].container and after.order == ("db", "web")
    assert ":7:" in before.services["db"].refused[0] and ":8:" in after.services["db"].refused[0]
    assert ":6:" in next(iter(before.warnings)) and ":7:" in next(iter(after.warnings))


@pytest.mark.parametrize(
    "change",
    [
        lambda desired: desired(TEXT.replace("db, cpu", "other, cpu"), CONF="a"),
        lambda desired: desired("# comment\n" + TEXT, CONF="a", TAG="2"),
        lambda desired: desired("# comment\n" + TEXT, CONF="b"),
        lambda desired: desired(files={".env": "CONF=b\n"}),
        lambda desired: desired("name: other\n" + TEXT, CONF="a"),
    ],
    ids=["value", "variable in the file", "variable of a config", "variable of .env", "name"],
)
def test_changed_content_is_translated(desired, change):
    before = desired(TEXT, files={".env": "CONF=a\n"})
    assert change(desired) != before
    os.unlink(".env")


def test_a_changed_copy_is_seen(desired):
    text = "services: {web: {image: web, configs: [{source: conf, mode: 0400}]}}\nconfigs: {conf: {file: ./conf}}\n"
    before = desired(text, files={"conf": "1"})
    after = desired("# comment\n" + text, files={"conf": "2"})
    assert before.services["web"].summary != after.services["web"].summary


def test_standard_input_is_not_remembered(desired, tmp_path):
    read, write = os.pipe()
    os.write(write, TEXT.encode())
    os.close(write)
    desired("services: {a: {image: x}}")
    assert "a" in desired().services
    os.unlink(tmp_path / "compose.yaml")
    os.symlink(f"/dev/fd/{read}", tmp_path / "compose.yaml")
    assert "web" in desired().services
    os.close(read)


def test_an_edited_comment_loads_no_models(tmp_path):
    code = (
        "import sys; from composer.cli.main import main\nmain(['--dry-run', 'stop', 'nothing'])\nprint(*sys.modules)\n"
    )
    roots = {"COMPOSER_STATE_ROOT": str(tmp_path / "s"), "COMPOSER_RUN_ROOT": str(tmp_path / "r")}
    times = iter(range(1, 9))

    def loaded(text: str) -> set[str]:
        file = tmp_path / "compose.yaml"
        file.write_text(text)
        os.utime(file, ns=(stamp := next(times) * 10**17, stamp))
        environ = {"PYTHONPATH": str(TOP), **roots}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environ, check=True)
        return {name.split(".")[0] for name in done.stdout.split()}

    assert {"pydantic", "networkx"} <= loaded(TEXT)
    modules = loaded("# edited\n" + TEXT)
    assert "yaml" in modules and not {"pydantic", "networkx"} & modules
    modules = loaded(TEXT.replace("web:$", "other:$"))
    assert "pydantic" in modules and "networkx" not in modules


FOLDER = {
    "compose.yaml": """\
include: [{path: included/compose.yaml, env_file: included/vars}]
services:
  web:
    extends: {file: base.yaml, service: base}
    env_file: [web.env]
    label_file: [web.labels]
    image: web:${TAG:-1}
    configs: [{source: conf, mode: 0400}]
    secrets: [{source: hidden, mode: 0400}]
  extra: {image: extra, profiles: [debug]}
configs: {conf: {file: ./conf}}
secrets: {hidden: {environment: HIDDEN}}
""",
    "compose.override.yaml": "services: {web: {hostname: a}}\n",
    "base.yaml": "services: {base: {extends: {file: deeper.yaml, service: deeper}, user: '1'}}\n",
    "deeper.yaml": "services: {deeper: {image: deeper, working_dir: /a}}\n",
    "included/compose.yaml": "services: {other: {image: 'other:${VERSION:-1}', env_file: [other.env]}}\n",
    "included/vars": "VERSION=1\n",
    "included/other.env": "A=1\n",
    "web.env": "B=1\n",
    "web.labels": "c=1\n",
    "conf": "d=1\n",
    ".env": "TAG=1\nHIDDEN=1\n",
}
"""A project with every kind of file that loading reads."""


def _states() -> list[tuple[str, dict[str, str], dict[str, str]]]:
    """(id, changed files, changed variables)"""
    changes = {"1": "2", "/a": "/b", ": a}": ": b}", ":${TAG": "-new:${TAG", ":${VERSION": "-new:${VERSION"}
    edited = []
    for name, text in FOLDER.items():
        changed = text
        for old, new in changes.items():
            changed = changed.replace(old, new)
        edited.append((name, {name: changed}, {}))
    variables = [(f"${name}", {}, {name: "3"}) for name in ("TAG", "VERSION", "HIDDEN", "A", "B")]
    return [*edited, *variables, ("$COMPOSE_PROFILES", {}, {"COMPOSE_PROFILES": "debug"})]


@pytest.mark.parametrize(("files", "environ"), [(f, e) for _, f, e in _states()], ids=[name for name, *_ in _states()])
def test_the_cache_never_gives_a_stale_answer(desired, tmp_path, files, environ):
    (tmp_path / "included").mkdir()
    before = desired(files=FOLDER)
    assert desired() == before
    cached = desired(files=files, **environ)
    uncached = desired(COMPOSER_STATE_ROOT=str(tmp_path / "fresh"), **environ)
    assert cached == uncached
    assert (cached != before) == (not environ.keys() & {"A", "B"})


@pytest.mark.parametrize("name", [name for name in FOLDER if name not in ("compose.yaml", ".env", "included/vars")])
def test_deleted_file_is_noticed(desired, tmp_path, name):
    (tmp_path / "included").mkdir()
    before = desired(files=FOLDER)
    os.unlink(name)
    answers = []
    for root in ("s", "fresh"):
        try:
            answers.append(desired(COMPOSER_STATE_ROOT=str(tmp_path / root)))
        except Exception as error:
            answers.append(str(error))
    assert answers[0] == answers[1] != before
