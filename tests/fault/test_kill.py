"""kill -9 of the command, the supervisor or the keeper, at chosen moments: the next `up` or `down -v` repairs
everything.

The `composer` fixture checks that nothing is left after `down -v`.
"""

import asyncio
import contextlib
import json
import os
import signal
import time
import urllib.request

import pytest

from engine import control
from engine.net import bridge
from engine.spec.network import BUILD_NETWORK, NetworkSpec
from engine.store import Store
from tests.fault.victims import Moment, find, kill, serving

VICTIMS = ("command", "supervisor", "keeper")
ALL = "command, supervisor and keeper"
WANTED = {"db": 1, "web": 1, "worker": 3}


def check(composer):
    """The project is as it should be: everything runs, answers and is found."""
    assert {service: len(containers) for service, containers in composer.ps().items()} == WANTED
    composer("exec", "-T", "worker", "true")
    (address,) = composer.looked_up("worker", "web")
    assert "root" in composer.fetch("worker", address, "/passwd")
    with urllib.request.urlopen("http://127.0.0.1:8080/passwd", timeout=5) as answer:
        assert b"root" in answer.read()


@pytest.fixture(params=["up", "down"])
def repaired(request, composer):
    """Repair by the next command, and check the result."""

    def repair():
        if request.param == "up":
            composer("up", "-d")
            check(composer)
        else:
            composer("down", "-v", "-t", "1")
            assert composer.ps("-a") == {}

    yield repair
    with contextlib.suppress(OSError):
        os.rmdir(
            f"{composer.roots.groups}/{composer.name}"
        )  # created so that it can be watched; `up` may die before it gets there


@pytest.mark.parametrize("victim", (*VICTIMS, ALL))
@pytest.mark.parametrize(
    "name", ["supervisor.sock", "keeper.sock", "spec.json", "bundle.json", "starting.json", "state.json"]
)
def test_during_up(composer, name, victim, repaired):
    moment = Moment(composer, name)
    up = composer.start("up", "-d")
    assert moment.wait(up)
    moment.close()
    for one in VICTIMS if victim == ALL else (victim,):
        kill(composer, one, up)
    up.communicate(timeout=60)
    repaired()


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("name", ["exit.json", "state.json"])
def test_during_down(composer, name, victim, repaired):
    composer("up", "-d")
    moment = Moment(composer, name)
    down = composer.start("down", "-t", "1")
    moment.wait(down)
    moment.close()
    kill(composer, victim, down)
    down.communicate(timeout=60)
    repaired()


@pytest.mark.parametrize("victims", [("command",), ("supervisor",), ("command", "supervisor", "keeper")])
def test_a_stop_that_was_interrupted(composer, victims):
    """`up` does not leave behind a program that was asked to stop and still runs."""
    script = "trap 'echo ending; sleep 0.5; exit 0' TERM; echo begun; while :; do sleep 0.05; done"
    web = {"image": "busybox", "command": ["sh", "-c", script], "stop_grace_period": "20s"}
    composer.write(compose=json.dumps({"services": {"web": web}}))
    composer("up", "-d")
    following = composer.start("logs", "-f", "--no-log-prefix")
    down = composer.start("down")
    assert [following.stdout.readline() for _ in range(2)] == ["begun\n", "ending\n"]
    for victim in victims:
        kill(composer, victim, down)
    down.communicate(timeout=60)
    composer("up", "-d")
    composer("exec", "-T", "web", "true")
    assert composer("logs", "--no-log-prefix").out.split()[-1] == "begun"
    following.kill()


@pytest.mark.parametrize("victim", ["supervisor", "keeper"])
def test_containers_live_on(composer, victim):
    composer("up", "-d")
    before = {c["ID"] for cs in composer.ps().values() for c in cs}
    uptime = composer("exec", "-T", "db", "sh", "-c", "cat /proc/1/stat | cut -d' ' -f22").out
    assert kill(composer, victim)
    composer("up", "-d")
    check(composer)
    assert {c["ID"] for cs in composer.ps().values() for c in cs} == before
    assert composer("exec", "-T", "db", "sh", "-c", "cat /proc/1/stat | cut -d' ' -f22").out == uptime


def test_down_of_nothing_removes_what_killed_builds_left(composer):
    """A build that was killed between two steps has the builds' network, but no lease."""
    left = f"{composer.roots.run}/build-{'0' * 12}"
    os.makedirs(left)
    store = Store(composer.roots)
    asyncio.run(bridge.create(store, NetworkSpec(name=BUILD_NETWORK)))
    composer("down", "-v")
    assert not os.path.exists(left)
    assert bridge.get(store, BUILD_NETWORK) is None
    store.close()


def test_the_keeper_starts_the_supervisor_again(composer):
    composer("up", "-d")
    (first,) = find(composer, "supervisor")
    kill(composer, "supervisor")
    serving(composer)
    assert find(composer, "supervisor") != [first]
    check(composer)


def test_keeper_and_supervisor_killed_together(composer, repaired):
    composer("up", "-d")
    kill(composer, "keeper")
    kill(composer, "supervisor")
    repaired()


def test_output_outlives_both(composer):
    """A container holds its own output FIFO open: the next keeper reads what it writes in the meantime."""
    count = "i=0; while [ $$i -lt 300 ]; do echo $$i; i=$$((i+1)); usleep 5000; done; exec sleep 1000"
    composer.write(compose=f"services: {{db: {{image: busybox, init: true, command: [sh, -c, {json.dumps(count)}]}}}}")
    composer("up", "-d")
    for pid in find(composer, "supervisor") + find(composer, "keeper"):
        os.kill(pid, signal.SIGKILL)
    composer("up", "-d")
    deadline = time.monotonic() + 20
    while (found := composer("logs", "--no-log-prefix", "db").out.split())[-1:] != ["299"]:
        assert time.monotonic() < deadline, found[-1:]
    assert found == [str(number) for number in range(300)]


@pytest.mark.parametrize("victims", [["keeper"], ["supervisor", "keeper"]])
def test_exec_and_attach_wait_for_the_next_keeper(composer, victims):
    reads = "{image: busybox, command: [sh, -c, 'read x; echo $$x; exit 3'], stdin_open: true}"
    composer.write(compose=f"services: {{db: {reads}}}")
    composer("up", "-d")
    for words, code in (("exec", "-T", "db", "echo", "well"), 0), (("attach", "db"), 3):
        for pid in [pid for victim in victims for pid in find(composer, victim)]:
            os.kill(pid, signal.SIGKILL)
        assert composer(*words, code=code, stdin="well\n").out == "well\n"


@pytest.mark.parametrize("command", ["up", "exec"])
def test_an_upgrade(composer, command):
    """A command that needs a supervisor and keeper replaces those of another release; containers keep running."""
    composer("up", "-d")
    before = {c["ID"] for cs in composer.ps().values() for c in cs}
    old = find(composer, "supervisor") + find(composer, "keeper")
    for path in (composer.roots.supervisor_socket(composer.name), composer.roots.keeper_socket(composer.name)):
        with open(control.lock_of(path), "w") as file:
            file.write("0.0.1")
    if command == "up":
        composer("up", "-d", "--scale", "worker=4")
    else:
        assert composer("exec", "-T", "db", "echo", "well").out == "well\n"
    assert not {*old} & {*find(composer, "supervisor"), *find(composer, "keeper")}
    assert before <= {c["ID"] for cs in composer.ps().values() for c in cs}
