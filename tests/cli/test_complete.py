"""Completions, the shell scripts that request them, the manual page and the examples."""

import importlib
import shutil
import subprocess

import pytest

from composer.cli.commands import complete, completion, man
from composer.cli.parsing.command_table import COMMANDS, module_of
from composer.cli.parsing.examples import EXAMPLES
from composer.cli.parsing.flags import parse
from composer.cli.parsing.options import GLOBAL
from composer.cli.project.context import Context
from tests.cli.file_engine import FileEngine

COMPOSE = """
services:
  web: {image: a, profiles: [front]}
  worker: {image: a}
  db: {image: a, profiles: [back, front]}
"""


@pytest.fixture
def offered(tmp_path):
    (tmp_path / "compose.yaml").write_text(COMPOSE)

    def ask(*words):
        options = parse(GLOBAL, ["--project-directory", str(tmp_path), "-f", str(tmp_path / "compose.yaml")])
        environ = {"COMPOSER_STATE_ROOT": f"{tmp_path}/s", "COMPOSER_RUN_ROOT": f"{tmp_path}/r"}
        context = Context(options, open_engine=FileEngine, environ=environ)
        return [word for word, _ in complete._candidates(context, list(words))]

    return ask


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pul"], ["pull"]),
        (["up", ""], ["db", "web", "worker"]),
        (["up", "web", "w"], ["worker"]),
        (["up", "--wait-t"], ["--wait-timeout"]),
        (["up", "--pull", ""], ["always", "missing", "never"]),
        (["up", "--pull=m"], ["--pull=missing"]),
        (["--profile", ""], ["back", "front"]),
        (["--progress", "p"], ["plain"]),
        (["run", "--rm", "w"], ["web", "worker"]),
        (["run", "web", ""], []),
        (["scale", "web"], ["web="]),
        (["cp", "d"], ["db:"]),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["up", "--exit-code-from", "w"], ["web", "worker"]),
    ],
)
def test_candidates(offered, words, expected):
    assert offered(*words) == expected


def test_invalid_command_line_has_no_completions(capsys):
    context = Context(parse(GLOBAL, []), open_engine=FileEngine, environ={})
    args = parse((), ["--", "nonsense", ""])
    assert complete.run(context, args) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_scripts_are_valid(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    subprocess.run([shell, "-n"], input=completion.SCRIPTS[shell], text=True, check=True)


def test_bash_calls_composer_complete(tmp_path):
    """The function of the script, called as bash calls it."""
    composer = tmp_path / "composer"
    composer.write_text('#!/bin/sh\nshift 2\nprintf "web\\tservice\\nworker\\n[%s]\\n" "$*"\n')
    composer.chmod(0o755)
    script = (
        completion.BASH
        + f"""
COMP_WORDS=({composer} up --build w) COMP_CWORD=3
compopt() {{ :; }}
_composer
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    )
    done = subprocess.run(["bash", "-c", script], text=True, capture_output=True, check=True)
    assert done.stdout.splitlines() == ["web", "worker", "[up --build w]"]


def test_the_manual_page_has_every_command():
    page = "\n".join(man.page())
    assert all(f".SS composer {name}" in page for name in COMMANDS)
    assert page.startswith(".TH COMPOSER 1")


def test_every_example_is_a_command():
    assert {line.split()[0] for lines in EXAMPLES.values() for line in lines} == {"composer"}
    for name in EXAMPLES:
        word, _, inner = name.partition(" ")
        assert word in COMMANDS
        assert not inner or inner in importlib.import_module(module_of(word)).GROUP.commands
