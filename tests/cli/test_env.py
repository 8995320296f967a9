"""composer env: a project's .env file is read and changed as its owner would change it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from composer.cli.main import main
from composer.cli.project.env_file import change, values

TEXT = """\
# the database
export DB_USER=app   # who
DB_PASSWORD='secret # no comment'

TAG=1 # the release
LAST="two words\""""


@pytest.fixture
def env(tmp_path, monkeypatch, capsys):
    """`composer env …` in a folder with a project; returns standard output, or standard error when it does not exit
    with 0."""
    monkeypatch.chdir(tmp_path)
    for name in ("COMPOSE_ENV_FILES", "COMPOSE_DISABLE_ENV_FILE", "DB_USER", "TAG"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "compose.yaml").write_text("services: {a: {image: x}}\n")
    (tmp_path / ".env").write_text(TEXT)

    def run(*words, options=(), code=0):
        assert main([*options, "env", *words]) == code
        run.out, run.err = capsys.readouterr()
        return run.err if code else run.out

    return run


def test_values_and_where_they_come_from(env, tmp_path, monkeypatch):
    monkeypatch.setenv("TAG", "2")
    lines = [line.split() for line in env("ls").splitlines()]
    assert lines[0] == ["NAME", "VALUE", "ORIGIN"]
    assert ["DB_USER", "app", f"{tmp_path}/.env:2"] in lines and ["TAG", "2", "environment"] in lines
    assert '{"Name": "LAST", "Value": "two words", "Origin": "' in env("ls", "--format", "json")
    assert env("get", "TAG", "DB_PASSWORD") == "2\nsecret # no comment\n"
    assert "NOPE is not set" in env("get", "NOPE", code=1)


def test_comments_order_and_mode_stay(env, tmp_path):
    file = tmp_path / ".env"
    file.chmod(0o640)
    env("set", "TAG=2", "DB_USER=o'brien", "NEW=a b", "EMPTY=")
    assert file.read_text() == (
        "# the database\n"
        'export DB_USER="o\'brien" # who\n'
        "DB_PASSWORD='secret # no comment'\n\n"
        "TAG=2 # the release\n"
        'LAST="two words"\n'
        "NEW='a b'\nEMPTY=\n"
    )
    assert file.stat().st_mode & 0o777 == 0o640
    env("unset", "DB_PASSWORD", "NEW")
    assert "PASSWORD" not in file.read_text() and "# the database" in file.read_text()
    assert "is not set in" in env("unset", "DB_PASSWORD", code=1)
    assert sorted(os.listdir(tmp_path)) == [".env", "compose.yaml"]


def test_the_file_that_is_named(env, tmp_path):
    (tmp_path / "prod.env").write_bytes(b"\xef\xbb\xbfA=1\r\nB=2\r\n")
    env("set", "A=3", options=("--env-file", ".env", "--env-file", "prod.env"))
    assert (tmp_path / "prod.env").read_bytes() == b"\xef\xbb\xbfA=3\r\nB=2\r\n"
    assert (tmp_path / ".env").read_text() == TEXT
    os.symlink("prod.env", tmp_path / "link.env")
    env("set", "B=4", options=("--env-file", "link.env"))
    assert (tmp_path / "link.env").is_symlink() and b"B=4" in (tmp_path / "prod.env").read_bytes()
    env("set", "A=1", options=("--env-file", "new.env"), code=0)
    assert (tmp_path / "new.env").read_text() == "A=1\n"


def test_a_home_folder_in_the_name_of_an_env_file(env, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "home.env").write_text("HERE=yes\n")
    assert env("get", "HERE", options=("--env-file", "~/home.env")) == "yes\n"


@pytest.mark.parametrize("words", [["set", "A"], ["set", "1A=2"], ["set", "A B=2"], ["get"], ["what"], ["ls", "more"]])
def test_usage(env, words):
    assert env(*words, code=1)


def test_concurrent_changes_are_kept(env, tmp_path):
    threads = [threading.Thread(target=change, args=(str(tmp_path / ".env"), {f"T{i}": "1"})) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"T{i}" for i in range(8)} <= values(str(tmp_path / ".env")).keys()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20))
def test_any_value_is_read_back(tmp_path, value):
    file = Path(tmp_path) / "one.env"
    file.write_text("A=1 # first\nB=2\n")
    change(str(file), {"A": value})
    found = values(str(file))
    assert found["A"][0] == value and found["B"][0] == "2"
