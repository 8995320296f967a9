"""A project from its first `up` to `down -v`."""

import json
import os
import subprocess
import time


def test_up_to_down(composer):
    up = composer("up", "-d")
    for resource in ("Network", "Container"):
        assert resource in up.err
    listed = composer.ps()
    assert {service: [c["State"] for c in cs] for service, cs in listed.items()} == {
        "web": ["running"],
        "job": ["running"],
    }
    assert listed["web"][0]["Name"] == f"{composer.name}-web-1"
    table = composer("ps").out.splitlines()
    assert table[0].split() == ["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"]
    assert len(table) == 3

    assert "serving" in composer("logs", "web").out
    assert composer("exec", "-T", "job", "pwd").out == "/tmp\n"
    assert composer("exec", "-T", "-e", "A=b", "web", "sh", "-c", "echo $COLOUR $A; exit 3", code=3).out == "blue b\n"
    assert composer("exec", "-T", "job", "cat", stdin="through\n").out == "through\n"
    composer("exec", "-T", "job", "no-such-program", code=127)
    assert "httpd" in composer("top", "web").out

    composer("down", "-v")
    assert composer.ps("-a") == {}


def test_a_second_up_changes_nothing(composer):
    composer("up", "-d")
    before = {c["ID"] for cs in composer.ps().values() for c in cs}
    composer("up", "-d")
    assert {c["ID"] for cs in composer.ps().values() for c in cs} == before


def test_a_second_up_reads_no_file_and_imports_nothing_heavy(composer):
    composer("up", "-d")
    python, *words = composer.command("up", "-d")
    done = subprocess.run(
        [python, "-X", "importtime", *words], cwd=composer.folder, env=composer.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not modules & {"yaml", "pydantic", "networkx", "pyroute2", "anyio", "asyncio"}


def test_a_supervisor_imports_nothing_heavy(composer):
    """Neither the one that `up` forks nor one that is started by its command line. The fork's log lacks the modules
    that it loaded before it became a supervisor: they are in a list that another test checks."""
    log = f"{os.path.dirname(composer.roots.supervisor_socket(composer.name))}/supervisor.log"
    for words in (("up", "-d"), ("start",)):
        composer(*words, environ={"PYTHONPROFILEIMPORTTIME": "1"})
        with open(log) as file:
            modules = {line.rpartition("|")[2].strip() for line in file}
        if words == ("start",):
            assert modules >= {"asyncio", "composer.run.supervisor", "engine.session.session"}
        assert not {name.partition(".")[0] for name in modules} & {
            "yaml",
            "pydantic",
            "networkx",
            "pyroute2",
            "urllib3",
        }
        composer("stop", "-t", "1")


def test_stop_start_restart_kill_rm(composer):
    composer("up", "-d")
    composer("stop", "web")
    assert composer.ps("-a")["web"][0]["State"] == "exited"
    composer("start", "web")
    assert composer.ps()["web"][0]["State"] == "running"
    one = composer("exec", "-T", "job", "cat", "/proc/sys/kernel/random/boot_id").out
    assert one
    composer("restart", "-t", "1", "job")
    assert composer.ps()["job"][0]["State"] == "running"
    composer("kill", "job")
    killed = composer.ps("-a")["job"][0]
    assert (killed["State"], killed["ExitCode"]) == ("exited", 137)
    composer("rm", "-f", "job")
    assert "job" not in composer.ps("-a")


def test_pause(composer):
    composer("up", "-d", "job")
    composer("pause", "job")
    assert composer.ps()["job"][0]["State"] == "paused"
    composer("unpause", "job")
    assert composer.ps()["job"][0]["State"] == "running"


def test_run(composer):
    done = composer("run", "--rm", "-T", "-e", "X=1", "web", "sh", "-c", "echo $COLOUR$X; exit 7", code=7)
    assert done.out == "blue1\n"
    assert composer.ps("-a") == {}
    assert composer("run", "--rm", "-T", "job", "cat", stdin="in\n").out == "in\n"


def test_ls_and_version(composer):
    composer("up", "-d")
    projects = json.loads(composer("ls", "--format", "json").out)
    assert [p["Status"] for p in projects if p["Name"] == composer.name] == ["running(2)"]
    assert "ersion" in composer("version").out


def test_down_is_quick_for_what_obeys_its_signal(composer):
    composer("up", "-d")
    began = time.monotonic()
    composer("down")
    assert time.monotonic() - began < 3


def test_config(composer):
    services = json.loads(composer("config", "--format", "json").out)["services"]
    assert services["web"]["environment"] == {"COLOUR": "blue"}
    assert composer("config", "--services").out.split() == ["job", "web"]
