"""Flags over the environment over the project's .env file."""

from __future__ import annotations

import pytest

from composer.cli.errors import UsageError
from composer.cli.parsing.flags import parse
from composer.cli.parsing.options import GLOBAL
from composer.cli.project.settings import Settings


def settings(
    *words: str, given: set[str] | None = None, dotenv: dict[str, str] | None = None, **environ: str
) -> Settings:
    project = {**(dotenv or {}), **environ}
    return Settings(parse(GLOBAL, list(words)), given or set(), environ, lambda: project)


def test_orphans() -> None:
    file = {"COMPOSE_REMOVE_ORPHANS": "true"}
    assert settings(dotenv=file).remove_orphans(False)
    assert not settings(dotenv=file, COMPOSE_REMOVE_ORPHANS="0").remove_orphans(False)
    assert not settings(given={"remove-orphans"}, dotenv=file, COMPOSE_REMOVE_ORPHANS="Yes").remove_orphans(False)
    assert settings(given={"remove-orphans"}, COMPOSE_REMOVE_ORPHANS="0").remove_orphans(True)


def test_parallel() -> None:
    assert settings().parallel == -1 and settings("--parallel", "3", COMPOSE_PARALLEL_LIMIT="2").parallel == 3
    assert (
        settings(COMPOSE_PARALLEL_LIMIT="2").parallel == settings(dotenv={"COMPOSE_PARALLEL_LIMIT": "2"}).parallel == 2
    )
    assert settings("--parallel", "-1", COMPOSE_PARALLEL_LIMIT="2").parallel == -1
    with pytest.raises(UsageError, match=r'must be an integer \(found: "x"\)'):
        _ = settings(COMPOSE_PARALLEL_LIMIT="x").parallel


def test_ansi() -> None:
    assert (
        settings(COMPOSE_ANSI="never").ansi == "never"
        and settings("--ansi=always", COMPOSE_ANSI="never").ansi == "always"
    )
    assert settings("--no-ansi").ansi == "never"
    with pytest.raises(UsageError, match="one of auto, never, always"):
        _ = settings("--ansi", "sometimes").ansi


def test_progress() -> None:
    assert settings(COMPOSE_PROGRESS="plain").progress(build=False) == "plain"
    assert settings("--progress", "json", COMPOSE_PROGRESS="plain").progress(build=True) == "json"
    assert settings("--progress", "auto", BUILDKIT_PROGRESS="rawjson").progress(build=True) == "json"
    assert settings(BUILDKIT_PROGRESS="plain").progress(build=False) == ""
    assert settings(BUILDKIT_PROGRESS="odd").progress(build=True) == ""
