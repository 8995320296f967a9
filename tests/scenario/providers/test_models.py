"""AI models: the runner's program pulls and serves them, and services get its address."""

import pytest

RUNNER = r"""#!/bin/sh
[ "$1" = docker-cli-plugin-metadata ] && { cat "$(dirname "$0")/metadata.json"; exit 0; }
echo "$@" >> "$(dirname "$0")/notes"
case "$1" in
  status) echo '{"running": true, "endpoint": "http://models.example.org/v1/"}';;
  ls) echo '[{"id": "1", "tags": ["ai/there"], "created": 1}]';;
  pull) [ "$2" != ai/broken ] || { echo "no such model" >&2; exit 1; };;
esac
"""
PROJECT = """
services:
  app: {image: busybox, command: env, models: {llm: , small: {model_var: NAME, endpoint_var: ADDRESS}}}
models:
  llm: {model: ai/new, context_size: 512, runtime_flags: [--fast]}
  small: {model: ai/there}
"""


@pytest.fixture
def runner(composer, tmp_path):
    """The folder of the plugin; `notes` records its calls."""
    folder = tmp_path / ".docker/cli-plugins"
    folder.mkdir(parents=True)
    (folder / "docker-model").write_text(RUNNER)
    (folder / "docker-model").chmod(0o755)
    (folder / "metadata.json").write_text('{"SchemaVersion": "0.1.0", "Version": "v1.0.7"}')
    composer.write(compose=PROJECT)
    return folder


def test_services_learn_what_is_served(composer, runner):
    out = composer("up", "--no-log-prefix").out.splitlines()
    address = "http://models.example.org/v1/"
    assert {"LLM_MODEL=ai/new", f"LLM_URL={address}", "NAME=ai/there", f"ADDRESS={address}"} <= set(out)
    notes = (runner / "notes").read_text().splitlines()
    assert [line for line in notes if line[:2] in ("pu", "co")] == [
        "pull ai/new",
        "configure --context-size 512 ai/new -- --fast",
        "configure ai/there",
    ]
    assert f"LLM_URL={address}" in composer("run", "--rm", "app").out
    before = composer("ps", "-aq").out
    composer("up", "-d")
    assert composer("ps", "-aq").out == before
    composer("down")


def test_an_older_runner_gets_no_flags(composer, runner):
    (runner / "metadata.json").write_text('{"Version": "v1.0.5"}')
    done = composer("up")
    assert "runtime_flags have no effect" in done.err and "--fast" not in (runner / "notes").read_text()
    composer("down")


def test_a_server_of_the_users_own(composer):
    composer.write(
        compose="services: {app: {image: busybox, command: env, models: [llm]}}\n"
        "models: {llm: {model: ai/new, x-endpoint: 'http://ollama:11434/v1/'}}\n"
    )
    assert "LLM_URL=http://ollama:11434/v1/" in composer("up", "--no-log-prefix").out
    composer("down")


def test_without_a_runner(composer, runner):
    (runner / "docker-model").unlink()
    done = composer("up", code=1, environ={"PATH": "/usr/bin:/bin"})
    assert "need the program docker-model" in done.err and "x-endpoint" in done.err
    composer.write(compose=PROJECT.replace("ai/new", "ai/broken"))
    (runner / "docker-model").write_text(RUNNER)
    (runner / "docker-model").chmod(0o755)
    assert "docker-model pull ai/broken failed: no such model" in composer("up", code=1).err
    assert not composer("ps", "-aq").out
