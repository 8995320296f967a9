"""One project, two programs: docker compose takes over composer's containers through the socket, and vice versa,
without recreating them."""

import os
import shutil
import subprocess
import sys

import pytest

COMPOSE = """
name: takeover
services:
  web: {image: busybox, command: sleep 1000, volumes: ["data:/data"], depends_on: [db], environment: {A: b}}
  db: {image: busybox, command: sleep 1000, scale: 2}
volumes: {data: {}}
"""


@pytest.fixture
def docker_compose(api, tmp_path):
    """docker compose against our socket, in the project's folder."""
    if not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed")

    def run(*words):
        environ = {**os.environ, "DOCKER_HOST": f"unix://{api.path}"}
        done = subprocess.run(["docker", "compose", *words], cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    (tmp_path / "compose.yaml").write_text(COMPOSE)
    return run


@pytest.fixture
def ours(roots, tmp_path):
    def run(*words):
        command = ["-m", "composer", "--ansi", "never", *words]
        environ = {**os.environ, **roots.environment()}
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    yield run
    run("down", "-v")


NAMES = ["takeover-db-1", "takeover-db-2", "takeover-web-1"]


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_a_project_passes_from_one_program_to_the_other(api, docker_compose, ours, first):
    make, take_over = (ours, docker_compose) if first == "ours" else (docker_compose, ours)
    make("up", "-d")
    before = sorted(record["Id"] for record in api.get("/containers/json"))
    assert len(before) == 3
    for program in (docker_compose, ours):
        assert any(line.startswith("takeover ") and "running(3)" in line for line in program("ls"))
        assert sorted(program("ps", "--format", "{{.Name}}")) == NAMES
        assert program("exec", "-T", "web", "sh", "-c", "echo in $A") == ["in b"]
    take_over("up", "-d")
    make("up", "-d")
    assert sorted(record["Id"] for record in api.get("/containers/json")) == before
    take_over("up", "-d", "--scale", "db=3")
    assert sorted(make("ps", "--format", "{{.Name}}")) == [*NAMES[:2], "takeover-db-3", NAMES[2]]
    take_over("down", "-v")
    assert api.get("/containers/json?all=1") == []
    assert [one["Name"] for one in api.get("/volumes")["Volumes"]] == []
    assert {one["Name"] for one in api.get("/networks")} == {"bridge", "host", "none"}
