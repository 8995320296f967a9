"""Jobs, and projects that are published to registries, of an ordinary user."""

import json
import os
import signal
import socket
import subprocess
import time

import pytest

JOBS = """
services:
  db: {image: busybox, command: [sleep, "1000"], init: true, volumes: ["notes:/notes"]}
jobs:
  tick:
    image: busybox
    command: [sh, -c, "id -u; echo err >&2; echo ran >> /notes/runs; exit $$CODE"]
    environment: {CODE: "${CODE:-0}"}
    volumes: ["notes:/notes"]
    depends_on: [db]
    triggers: {schedule: ["* * * * *"]}
  once: {image: busybox, command: [sh, -c, "wc -l < /notes/runs; exit 3"], volumes: ["notes:/notes"], triggers: {manual: true}}
volumes: {notes: {}}
"""
ADDRESS = "198.51.100.1"


def runs(user, job):
    lines = user("job", "runs", "--format", "json", job).out.splitlines()
    return [(row["State"], row["Exit"], row["Trigger"]) for row in map(json.loads, lines)]


def supervisor(user):
    return next(pid for pid, words in user.processes().items() if "supervise" in words)


def test_jobs(user):
    user.write(compose=JOBS)
    assert "Job tick Created" in user("up", "-d").err
    user("job", "run", "tick")
    assert user("job", "wait", "tick").code == 0
    assert runs(user, "tick")[0][0] == "succeeded"
    assert "0" in user("job", "logs", "tick").out.split()
    assert int(user("run", "-T", "--rm", "once", code=3).out) >= 1
    os.kill(supervisor(user), signal.SIGKILL)
    assert user("exec", "-T", "db", "cat", "/notes/runs").out.startswith("ran")
    user.write(compose=JOBS.replace("${CODE:-0}", "4"))
    user("up", "-d")
    user("job", "run", "tick")
    user("job", "wait", "tick", code=4)
    assert runs(user, "tick")[0][0] == "failed"
    assert "Job tick Removed" in user("down", "-v", "-t", "0").err


@pytest.fixture
def registry(tmp_path):
    """A registry on the host, at a non-loopback address, by http."""
    subprocess.run(["ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"], check=True)
    config = tmp_path / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/data}}}}\n"
        f"http: {{addr: '{ADDRESS}:5000'}}\n"
    )
    with subprocess.Popen(["docker-registry", "serve", config], stderr=subprocess.DEVNULL) as process:
        while True:
            try:
                socket.create_connection((ADDRESS, 5000)).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None, "the registry ended"
                time.sleep(0.02)
        yield f"{ADDRESS}:5000"
        process.kill()
    subprocess.run(["ip", "address", "delete", f"{ADDRESS}/32", "dev", "lo"], check=True)


def test_publish(user, registry):
    user.write(
        compose="services: {web: {image: busybox, command: env, env_file: town.env, environment: {DAY: '${DAY:-good}'}}}\n",
        **{"town.env": "TOWN=Trier\n", "registries.toml": f'[registry."{registry}"]\nplain_http = true\n'},
    )
    environ = {"COMPOSER_REGISTRIES": str(user.project / "registries.toml")}
    assert "published" in user("publish", "--with-env", f"{registry}/stack:1", environ=environ).err
    source = ("-f", f"oci://{registry}/stack:1")
    service = json.loads(user(*source, "config", "--format", "json", environ=environ).out)["services"]["web"]
    assert service["environment"] == {"DAY": "good", "TOWN": "Trier"}
    done = user(*source, "up", "--yes", "--no-color", environ=environ)
    assert "TOWN=Trier" in done.out
    assert (user.home / ".cache/composer/oci").is_dir()
    user(*source, "down", environ=environ)
