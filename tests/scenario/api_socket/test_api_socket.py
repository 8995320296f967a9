"""Services with `use_api_socket`."""

import json
import signal
import subprocess

import pytest


@pytest.fixture
def server(composer):
    with subprocess.Popen(
        composer.command("serve"), cwd=composer.folder, env=composer.environ, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr.readline().startswith("serving on unix://")
        yield process
        process.send_signal(signal.SIGINT)
        process.stderr.read()


def test_a_container_gets_the_socket_and_the_credentials(composer, server):
    auths = {"auths": {"registry.example:5000": {"auth": "dTpw"}}}
    composer.write({"docker/config.json": json.dumps(auths)})
    composer.environ["DOCKER_CONFIG"] = str(composer.folder / "docker")
    composer("up", "-d")
    look = "test -S /var/run/docker.sock && cat $DOCKER_CONFIG/config.json"
    assert json.loads(composer("exec", "-T", "web", "sh", "-c", look).out) == auths
    assert json.loads(composer("run", "--rm", "-T", "web", "sh", "-c", look).out) == auths
    composer("exec", "-T", "own", "sh", "-c", "test -S /var/run/docker.sock && ! test -e /run/secrets")
    composer("exec", "-T", "other", "sh", "-c", "! test -e /var/run/docker.sock")
    before = composer("ps", "-q").out
    composer("up", "-d")
    assert composer("ps", "-q").out == before
    composer("kill")


def test_without_a_server_the_error_says_how_to_start_it(composer):
    composer("up", "-d", "other")
    done = composer("up", "-d", code=1)
    assert 'service "own": use_api_socket needs the Docker API, and nothing answers at' in done.err
    assert "composer serve" in done.err
    composer("--dry-run", "up", "-d")
    composer("down", "-t", "0")
