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
    assert settings(dotenv={"COMPOSE_ANSI": "always"}).ansi == "always"
    assert settings(dotenv={"COMPOSE_ANSI": "always"}, COMPOSE_ANSI="auto").ansi == "auto"
    assert settings(COMPOSE_ANSI="odd").ansi == "never" and settings(COMPOSE_ANSI="").ansi == "auto"
    with pytest.raises(UsageError, match="one of auto, never, always"):
        _ = settings("--ansi", "sometimes").ansi


def test_progress() -> None:
    assert settings(COMPOSE_PROGRESS="plain").progress(build=False) == "plain"
    assert settings("--progress", "json", COMPOSE_PROGRESS="plain").progress(build=True) == "json"
    assert settings("--progress", "auto", BUILDKIT_PROGRESS="rawjson").progress(build=True) == "json"
    assert settings(BUILDKIT_PROGRESS="plain").progress(build=False) == ""
    with pytest.raises(UsageError, match="invalid progress mode"):
        settings(BUILDKIT_PROGRESS="odd").progress(build=True)
    assert settings("--progress", "none").progress(build=False) == "quiet"


@pytest.mark.parametrize(
    ("words", "environ", "message"),
    [
        (["--no-ansi", "--ansi", "always"], {}, 'cannot specify DEPRECATED "--no-ansi" and "--ansi"'),
        (["--workdir", "a", "--project-directory", "b"], {}, 'cannot specify DEPRECATED "--workdir"'),
        ([], {"COMPOSE_PARALLEL_LIMIT": "1.5"}, "COMPOSE_PARALLEL_LIMIT must be an integer"),
        ([], {"COMPOSE_PROGRESS": "odd"}, 'unsupported --progress value "odd"'),
        (["--progress", "tty", "--ansi", "never"], {}, "can't use --progress tty while ANSI support is disabled"),
        ([], {"COMPOSE_PROGRESS": "tty", "COMPOSE_ANSI": "never"}, "can't use --progress tty"),
        (["--progress", "plain", "--ansi", "always"], {}, "can't use --progress plain while ANSI support is forced"),
        (["--ansi", "odd"], {}, "one of auto, never, always"),
    ],
)
def test_wrong_values_are_refused_even_if_unused(words: list[str], environ: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        list(settings(*words, **environ).check())


def test_warnings_of_values() -> None:
    assert list(settings(COMPOSE_PROGRESS="none", COMPOSE_PARALLEL_LIMIT="-1").check()) == []
    assert list(settings("--parallel", "2", COMPOSE_PARALLEL_LIMIT="x").check()) == []
    (deprecated,) = settings("--no-ansi", "--ansi", "auto").check()
    assert deprecated == "option '--no-ansi' is DEPRECATED ! Please use '--ansi' instead."
    (unknown,) = settings(COMPOSE_ANSI="odd").check()
    assert unknown.startswith('COMPOSE_ANSI is "odd"')


def test_remote_daemon_is_not_ignored_silently() -> None:
    assert settings(DOCKER_HOST="unix:///run/composer/docker.sock", DOCKER_CONTEXT="default").unused_daemon() == ""
    assert settings(DOCKER_HOST="ssh://host").unused_daemon().startswith("DOCKER_HOST=ssh://host is not used")
    assert settings(DOCKER_CONTEXT="far").unused_daemon().startswith("DOCKER_CONTEXT=far is not used")
    assert settings(DOCKER_HOST="tcp://host:2375", COMPOSER_SILENCE="docker-host").unused_daemon() == ""
