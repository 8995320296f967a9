"""Guesses from a command line that nothing has parsed yet."""

import pytest

from composer.cli.parsing.guess import may_start


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("up -d", True),
        ("create", True),
        ("-p other up", True),
        ("-f ../elsewhere/compose.yaml up -d", True),
        ("up --dry-run", False),
        ("up --help", False),
        ("ps", False),
        ("down", False),
        ("-p web up", False),
        ("--project-name web up", False),
        ("--project-directory Web up", False),
        ("-f web/compose.yaml up", False),
    ],
)
def test_guess_supervisor_start(tmp_path, monkeypatch, line, expected):
    (tmp_path / "run" / "web").mkdir(parents=True)
    (tmp_path / "run" / "web" / "supervisor.sock").touch()
    monkeypatch.chdir(tmp_path)
    assert may_start(line.split(), {"COMPOSER_RUN_ROOT": str(tmp_path / "run")}) is expected


def test_the_directory_and_the_environment_name_the_project(tmp_path, monkeypatch):
    (tmp_path / "run" / "web").mkdir(parents=True)
    (tmp_path / "run" / "web" / "supervisor.sock").touch()
    (tmp_path / "_We.b").mkdir()
    roots = {"COMPOSER_RUN_ROOT": str(tmp_path / "run")}
    monkeypatch.chdir(tmp_path / "_We.b")
    assert not may_start(["up"], roots)
    assert may_start(["up"], {**roots, "COMPOSE_PROJECT_NAME": "other"})
    assert may_start(["up"], {**roots, "COMPOSE_FILE": "../other/compose.yaml"})
    monkeypatch.chdir(tmp_path)
    assert may_start(["up"], roots)
    assert not may_start(["up"], {**roots, "COMPOSE_PROJECT_NAME": "web"})
