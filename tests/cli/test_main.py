"""The program as a whole: help, exit codes, messages, and modules that it must not import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from composer.cli import main as program
from composer.cli.errors import CommandError, ExitCode
from composer.cli.parsing.command_table import COMMANDS
from engine.errors import EngineError, OperationFailed, StartFailed

ROOT = str(Path(__file__).parents[2])
HEAVY = ("pydantic", "networkx", "pyroute2", "yaml", "anyio", "argparse", "asyncio", "sqlite3", "subprocess", "msgspec")


def composer(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "composer", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT, **environ},
        timeout=30,
        check=False,
    )


def test_version() -> None:
    done = composer("version", "--short")
    assert (done.returncode, done.stdout) == (0, "5.8.0\n")
    shown = json.loads(composer("version", "-f", "json").stdout)
    assert shown["version"] == "v5.8.0"
    said = f"Composer version {shown['composer']} (equals Docker Compose 5.8.0)\n"
    assert composer("--version").stdout == composer("version").stdout == said


def test_help_lists_the_commands_and_each_has_its_own() -> None:
    done = composer()
    assert done.returncode == 0 and done.stdout == composer("--help").stdout
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert max(map(len, done.stdout.split("Commands:")[0].splitlines())) <= 80
    up = composer("up", "--help")
    assert up.stdout.startswith("Usage:  composer up [OPTIONS] [SERVICE...]\n") and "-d, --detach" in up.stdout
    assert composer("help", "up").stdout == up.stdout == composer("up", "-h").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rn"], 'unknown composer command: "rn"\nRun'),
        (["remove"], 'unknown composer command: "remove"\nRun'),
        (["rmi"], 'unknown composer command: "rmi"\nUse: composer image rm\n'),
        (["docker", "ps"], 'unknown composer command: "docker"\nLeave that word out'),
        (["swarm", "init"], "composer swarm is not supported: composer has neither Swarm nor plugins"),
        (["up", "--orphans"], "unknown flag: --orphans\nSee"),
        (["kill", "-9", "web"], "unknown shorthand flag: '9' in -9\nDid you mean --signal 9?"),
        (["dwon"], 'unknown composer command: "dwon"\nDid you mean: composer down?\n'),
        (["up", "--nope"], "unknown flag: --nope\nSee 'composer up --help'.\n"),
        (["ps", "--project-name", "x"], "give it before 'ps'"),
        (["bridge", "convrt"], 'unknown command: "composer bridge convrt"\nDid you mean: composer bridge convert?'),
        (["exec", "web"], "requires at least 2 arguments"),
        (["builder", "imagetools", "inspect", "x"], "builder imagetools is not supported: use image inspect"),
        (["builder", "--builder", "other", "du"], "--builder other is not supported: composer has a single built-in"),
        (["builder", "du", "--builder=other"], "--builder other is not supported: composer has a single built-in"),
        (["builder", "-D", "--builder=default", "wat"], 'unknown command: "composer builder wat"'),
        (["builder", "--wat", "du"], "unknown flag: --wat"),
        (["builder", "du", "--builder"], "flag needs an argument: --builder"),
        (["builder", "history", "open"], "builder history open is not supported: composer does not work with"),
        (["volume", "update", "v"], "volume update is not supported: it changes Swarm's cluster volumes"),
        (["version", "extra"], 'unknown command "extra" for "composer version"'),
        (["-f"], "flag needs an argument: -f, --file"),
        (["--progress", "fancy", "up", "--build", "--no-build"], 'unsupported --progress value "fancy"'),
    ],
)
def test_a_wrong_command_line_is_one_clear_message(words: list[str], message: str) -> None:
    done = composer(*words)
    assert done.returncode == 1 and done.stdout == ""
    assert message in done.stderr and "Traceback" not in done.stderr


def test_a_menu_has_no_effect_without_a_terminal_to_show_it() -> None:
    assert "warning: --menu has no effect with --detach\n" in composer("up", "--menu", "-d").stderr


@pytest.mark.parametrize("words", [["version"], ["up", "--help"], ["dwon"], ["exec"]])
def test_light_commands_import_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys; from composer.cli.main import main; main(sys.argv[2:]); "
        "print([name for name in sys.argv[1].split(',') if name in sys.modules], file=sys.stderr)"
    )
    heavy = ",".join(HEAVY if words != ["exec"] else [name for name in HEAVY if name != "msgspec"])
    done = subprocess.run(
        [sys.executable, "-c", script, heavy, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (CommandError("no such service: x"), 1, "no such service: x"),
        (CommandError("bad", 14), 14, "bad"),
        (EngineError("it failed", hint="do this"), 1, "it failed\ndo this"),
        (StartFailed("sh: not found", exit_code=127), 127, "sh: not found"),
        (ExitCode(42), 42, ""),
        (KeyboardInterrupt(), 130, ""),
        (PermissionError(13, "Permission denied", "/x"), 1, "Permission denied /x"),
        (OSError(24, "Too many open files", "/x"), 1, "cannot open /x: EMFILE: "),
        (OperationFailed("open", "/x", 24), 1, "open /x: EMFILE\nRaise the limit of open files: ulimit -n 1024"),
        (ValueError("oops"), 1, "internal error: ValueError: oops"),
    ],
)
def test_errors_become_a_message_and_an_exit_code(
    error: BaseException, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(program, "_dispatch", fail)
    monkeypatch.delenv("COMPOSER_DEBUG", raising=False)
    assert program.main(["x"]) == code
    assert message in capsys.readouterr().err
    if isinstance(error, ValueError):
        monkeypatch.setenv("COMPOSER_DEBUG", "1")
        with pytest.raises(ValueError, match="oops"):
            program.main(["x"])


@pytest.mark.parametrize("limit", [8, 12])
def test_a_low_limit_of_open_files_shows_no_traceback(tmp_path: Path, limit: int) -> None:
    (tmp_path / "compose.yaml").write_text("name: low\nservices: {a: {image: b}}\n")
    words = f'exec "$0" -m composer --state-root {tmp_path}/s --run-root {tmp_path}/r'
    for command in ("version", "config --services", "ps -q"):
        done = subprocess.run(
            ["sh", "-c", f"ulimit -n {limit}; {words} {command}", sys.executable],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": ROOT},
            timeout=30,
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert done.returncode == 0 or "ulimit -n 1024" in done.stderr


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m composer --help | true",
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
        check=False,
    )
    assert done.stderr == ""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_as_dev_null(tmp_path: Path, closed: str) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a: {image: b}}\n")
    script = f'"$0" -m composer --state-root s --run-root r config --services {closed}'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "" if " >" in f" {closed}" else "a\n", "")


def test_an_interrupt_before_the_command_begins_shows_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(words: list[str]) -> None:
        raise KeyboardInterrupt

    codes: list[int] = []
    monkeypatch.setattr(program, "_early_fork", interrupted)
    monkeypatch.setattr(program.gc, "set_threshold", lambda *numbers: None)
    monkeypatch.setattr(program.compiled, "use", lambda: None)
    monkeypatch.setattr(program.os, "_exit", codes.append)
    program.script()
    assert codes == [130]


@pytest.mark.parametrize(
    "words", [["up", "-d"], ["ps"], ["-f", "/srv/compose.yaml", "config"], ["-f", "x.yaml", "down"]]
)
def test_a_removed_working_directory_is_named(tmp_path: Path, words: list[str]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'cd {gone} && rmdir {gone} && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, "-m", "composer", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
        timeout=30,
        check=False,
    )
    assert done.returncode == 1 and done.stderr.startswith("the working directory no longer exists") and not done.stdout
    assert 'cd "$PWD"' in done.stderr


@pytest.mark.parametrize("command", ["volumes", "images", "ps", "top", "logs", "stats"])
def test_without_a_project_a_listing_is_an_error(tmp_path: Path, command: str) -> None:
    roots = {"COMPOSER_STATE_ROOT": str(tmp_path / "s"), "COMPOSER_RUN_ROOT": str(tmp_path / "r")}
    done = subprocess.run(
        [sys.executable, "-m", "composer", command],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ROOT, **roots},
        timeout=30,
        check=False,
    )
    assert done.returncode == 1 and done.stderr.startswith("no configuration file provided: not found")


@pytest.mark.parametrize(("given", "shown"), [({}, False), ({"LC_CTYPE": "C.UTF-8"}, True)], ids=["none", "own"])
def test_projects_see_only_the_callers_variables(tmp_path: Path, given: dict[str, str], shown: bool) -> None:
    """In the C locale, Python sets LC_CTYPE (PEP 538)."""
    (tmp_path / "compose.yaml").write_text("services: {a: {image: x}}\n")
    done = subprocess.run(
        [sys.executable, "-m", "composer", "config", "--environment"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": ROOT, **given},
        timeout=30,
        check=True,
    )
    assert ("LC_CTYPE=C.UTF-8" in done.stdout.splitlines()) is shown
