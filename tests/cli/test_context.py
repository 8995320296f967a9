"""What a command learns about its project: from the cache while nothing has changed, else from the files."""

import io
import os
from types import SimpleNamespace

import pytest

from composer.cli.errors import CommandError
from composer.cli.parsing.flags import parse
from composer.cli.parsing.options import GLOBAL
from composer.cli.project.context import Context
from composer.load.read.sources import NoFileError

FILES = {
    "compose.yaml": """
include: [included.yaml]
services:
  web:
    image: web:${TAG:-1}
    env_file: web.env
    extends: {file: base.yaml, service: base}
    secrets: [{source: key, mode: 0400}]
    configs: [{source: text, target: /text}]
  tool:
    image: tool
    profiles: [tools]
secrets: {key: {file: key.txt}}
configs: {text: {environment: TEXT}}
""",
    "included.yaml": "services: {other: {image: 'other:1'}}\n",
    "base.yaml": "services: {base: {command: base}}\n",
    "web.env": "A=1\n",
    ".env": "TEXT=hello\n",
    "key.txt": "secret",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = tmp_path / "demo"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name, text in FILES.items():
        write(folder / name, text)
    return folder


def write(path, text):
    """Make it look as if it was written long ago, so that the cache trusts it."""
    before = path.stat().st_mtime_ns if path.exists() else 10**18
    path.write_text(text)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def context(tmp_path, *flags, containers=(), **environ):
    options = parse(GLOBAL, [f"--state-root={tmp_path}/s", f"--run-root={tmp_path}/r", *flags], interspersed=False)
    engine = SimpleNamespace(containers=lambda group: list(containers))
    return Context(options, open_engine=lambda roots: engine, environ=environ, stderr=io.StringIO())


@pytest.fixture
def no_loading(monkeypatch):
    """From now on, reading the files is an error."""

    def forbid():
        def load_tree(options):
            raise AssertionError("the files are read")

        monkeypatch.setattr("composer.load.project.load_tree", load_tree)

    return forbid


def test_second_load_reads_no_file(project, tmp_path, no_loading):
    first = context(tmp_path).desired
    assert first.services["web"].image == "web:1"
    assert first.known == ("other", "tool", "web")
    no_loading()
    assert context(tmp_path).desired == first
    assert context(tmp_path).project_name == "demo"
    assert context(tmp_path).declared_services() == {"other", "tool", "web"}


@pytest.mark.parametrize(
    ("name", "text", "seen"),
    [
        (
            "compose.yaml",
            FILES["compose.yaml"].replace("web:$", "site:$"),
            lambda d: d.services["web"].image == "site:1",
        ),
        ("included.yaml", "services: {other: {image: 'other:2'}}\n", lambda d: d.services["other"].image == "other:2"),
        ("base.yaml", "services: {base: {command: tail}}\n", lambda d: command(d) == ("tail",)),
        ("web.env", "A=2\n", lambda d: d.services["web"].container.environment == {"A": "2"}),
        (".env", "TEXT=bye\n", lambda d: content(d) == "bye"),
        ("key.txt", "public", lambda d: True),
        ("compose.override.yaml", "services: {web: {command: over}}\n", lambda d: command(d) == ("over",)),
    ],
)
def test_a_changed_file_is_seen(project, tmp_path, name, text, seen):
    before = context(tmp_path).desired
    write(project / name, text)
    after = context(tmp_path).desired
    assert seen(after)
    # Docker Compose's hash ignores contents of configs and secrets; the summary decides (plan/recreation.py).
    assert after.services["web"].summary != before.services["web"].summary or name == "included.yaml"


def command(desired):
    return desired.services["web"].container.command


def content(desired):
    return next(m.content for m in desired.services["web"].container.mounts if m.target == "/text")


def test_the_file_of_a_secret_that_appears_is_seen(project, tmp_path):
    (project / "key.txt").unlink()
    (line,) = context(tmp_path).desired.services["web"].refused
    assert (
        line
        == f"{project}/compose.yaml:8:15: services.web.secrets[0]: the file of the secret 'key' does not exist: {project}/key.txt"
    )
    write(project / "key.txt", "secret")
    assert not context(tmp_path).desired.services["web"].refused


def test_a_variable_that_is_used_is_seen(project, tmp_path, no_loading):
    assert context(tmp_path, TAG="2").desired.services["web"].image == "web:2"
    assert context(tmp_path, TAG="3").desired.services["web"].image == "web:3"
    assert content(context(tmp_path, TAG="3", TEXT="mine").desired) == "mine"
    no_loading()
    assert context(tmp_path, TAG="3", TEXT="mine", LANG="x").desired.services["web"].image == "web:3"


def test_warnings_are_printed_once_per_command(project, tmp_path):
    write(project / "compose.yaml", "services: {web: {image: 'web:$NOWHERE'}}\n")
    for _ in range(2):
        one = context(tmp_path)
        assert one.desired and one.desired_or_none
        assert one.stderr.getvalue().count("NOWHERE") == 1


@pytest.mark.parametrize("silence", ["x-composer: {silence: [no-effect]}\n", ""])
def test_warnings_without_effect_can_be_silenced(project, tmp_path, silence):
    write(project / "compose.yaml", f"{silence}services: {{web: {{image: a, deploy: {{labels: {{a: b}}}}}}}}\n")
    warnings = context(tmp_path).desired.warnings
    assert len(warnings) == (0 if silence else 1)
    assert silence or f"({project}/compose.yaml:1:" in next(iter(warnings))
    assert not context(tmp_path, COMPOSER_SILENCE="all").desired.warnings


def test_a_service_that_is_named_is_enabled(project, tmp_path):
    one = context(tmp_path)
    assert "tool" not in one.desired.services
    one.check_services(["tool"])
    assert "tool" in one.desired.services
    assert set(one.desired.known) == {"other", "tool", "web"}


def test_unknown_service(project, tmp_path):
    with pytest.raises(CommandError, match=r"^no such service: wep: did you mean web\?$"):
        context(tmp_path).check_services(["wep"])


def test_without_a_file_a_name_is_enough_for_some(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "named.env").write_text("COMPOSE_PROJECT_NAME=demo\n")
    for one in (
        context(tmp_path, "-p", "demo"),
        context(tmp_path, COMPOSE_PROJECT_NAME="demo"),
        context(tmp_path, "--env-file", "named.env"),
    ):
        assert one.desired_or_none is None
        assert one.declared_services() is None
        assert one.project_name == "demo"
        with pytest.raises(NoFileError, match="no configuration file provided: not found"):
            one.desired  # noqa: B018


def test_without_a_file_and_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for ask in (lambda one: one.desired_or_none, lambda one: one.project_name, lambda one: one.declared_services()):
        with pytest.raises(NoFileError, match="no configuration file provided: not found"):
            ask(context(tmp_path))


def test_named_file_must_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match=r"open .*/nowhere.yaml: no such file or directory"):
        context(tmp_path, "-p", "demo", "-f", "nowhere.yaml").desired_or_none  # noqa: B018


DISCOVERED = {
    "an override": ({"compose.yaml": "a"}, "compose.override.yml", "over"),
    "a name that comes first": ({"docker-compose.yml": "a"}, "compose.yaml", "first"),
    "a nearer folder": ({"../compose.yaml": "a"}, "compose.yaml", "near"),
}


@pytest.mark.parametrize("what", DISCOVERED)
def test_preferred_file_invalidates_cache(tmp_path, monkeypatch, what):
    there, added, image = DISCOVERED[what]
    (tmp_path / "top" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "top" / "below")
    for name, text in there.items():
        write(tmp_path / "top" / "below" / name, f"services: {{web: {{image: {text}}}}}\n")
    assert context(tmp_path).desired.services["web"].image == "a"
    assert context(tmp_path).desired.services["web"].image == "a"
    write(tmp_path / "top" / "below" / added, f"services: {{web: {{image: {image}}}}}\n")
    assert context(tmp_path).desired.services["web"].image == image


@pytest.mark.parametrize(
    ("name", "text", "seen"),
    [
        ("optional.env", "A=1\n", lambda web: web.container.environment == {"A": "1"}),
        ("web.labels", "a=c\n", lambda web: web.container.labels["a"] == "c"),
        ("sub/.env", "TAG=9\n", lambda web: True),
        ("sub.env", "TAG=7\n", lambda web: True),
        ("sub/more.yaml", "services: {more: {image: 'other:${TAG:-1}'}}\n", lambda web: True),
    ],
)
def test_files_of_other_keys_invalidate_cache(tmp_path, monkeypatch, name, text, seen):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    write(
        tmp_path / "compose.yaml",
        "include: [{path: sub/more.yaml, env_file: sub.env}, sub/plain.yaml]\n"
        "services: {web: {image: a, env_file: [{path: optional.env, required: false}], label_file: web.labels}}\n",
    )
    write(tmp_path / "sub" / "more.yaml", "services: {more: {image: 'more:${TAG:-1}'}}\n")
    write(tmp_path / "sub" / "plain.yaml", "services: {plain: {image: 'plain:${TAG:-1}'}}\n")
    write(tmp_path / "sub.env", "TAG=2\n")
    write(tmp_path / "web.labels", "a=b\n")
    before = context(tmp_path).desired
    assert context(tmp_path).desired == before
    write(tmp_path / name, text)
    after = context(tmp_path).desired
    assert seen(after.services["web"])
    assert after != before
