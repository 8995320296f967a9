"""A session whose process is killed in the middle of an operation: the next one finds what happened, and finishes it."""

import contextlib
import fcntl
import glob
import os
import shutil
import signal
import subprocess
import sys

import pytest

from engine.api import Engine
from engine.spec.container import Attachment, Mount, PortBinding
from engine.spec.network import NetworkSpec
from engine.spec.state import INTERRUPTED, Status
from tests.session.tasks import LoopTasks

OPERATE = """
import asyncio, os, signal, sys
from engine.api import Engine
from engine.paths import Roots
from engine.session import group as groups
from tests.session.tasks import LoopTasks

def die(*_, **options):
    os.kill(os.getpid(), signal.SIGKILL)

async def start(session, container_id):
    async def ready():
        die()
    await session.start(container_id, ready=ready)

async def executed(session, container_id):
    groups.Group.confirm = die
    await session.start(container_id)

async def cleaned(session, container_id):
    groups.remove_tree = die
    await session.remove(container_id, volumes=True)

async def released(session, container_id):
    unlink = os.unlink
    os.unlink = lambda path, **where: die() if str(path).endswith("spec.json") else unlink(path, **where)
    await session.remove(container_id, volumes=True)

async def main(state, run, group, operation, container_id):
    session = await Engine(Roots(state, run)).session(group, LoopTasks())
    await session.adopt()
    await globals()[operation](session, container_id)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def killed(box):
    """Runs an operation of OPERATE in a process that kills itself in the middle; returns what the next session
    adopts."""

    def operate(operation, record, *, keeper=False, reboot=False):
        box.do(box.session.close())
        argv = [sys.executable, "-c", OPERATE, box.roots.state, box.roots.run, box.group, operation, record.id]
        died = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        assert died.returncode == -signal.SIGKILL, died.stderr
        if keeper or (reboot and os.path.exists(box.roots.keeper_socket(box.group))):
            kill_keeper(box)
        if reboot:
            shutil.rmtree(f"{box.roots.run}/{box.group}", ignore_errors=True)
        box.engine = Engine(box.roots)
        box.session = box.do(box.engine.session(box.group, LoopTasks()))
        return {one.id: one for one in box.do(box.session.adopt(clean=reboot))}

    return operate


def kill_keeper(box):
    from engine import control

    with control.connect(box.roots.keeper_socket(box.group)) as sock:
        os.kill(control.peer(sock)[0], signal.SIGKILL)
        with contextlib.suppress(ConnectionError):
            sock.recv(1)


@pytest.mark.parametrize("keeper", [False, True], ids=["supervisor", "both"])
def test_a_start_before_the_program_never_happened(box, killed, keeper):
    box.do(box.session.create_network(NetworkSpec(name="tkilled")))
    record = box.create(
        "sleep",
        "1000",
        networks=(Attachment(network="tkilled"),),
        ports=(PortBinding(container_port=80, host_port="21999"),),
        mounts=(Mount(type="volume", target="/data"),),
    )
    state = killed("start", record, keeper=keeper)[record.id].state
    assert (state.status, state.pid, state.error) == (Status.CREATED, 0, INTERRUPTED)
    assert not glob.glob(f"{box.session.folder(record.id)}/starting.json")
    assert box.do(box.session.start(record.id)).state.status is Status.RUNNING
    assert box.exec(record, "true")[0] == 0
    box.do(box.session.remove(record.id, force=True, volumes=True))
    assert not os.listdir(box.roots.volumes)


def test_an_earlier_end_stays_known(box, killed):
    record = box.create("false")
    box.do(box.session.start(record.id))
    box.wait(record)
    state = killed("start", record)[record.id].state
    assert (state.status, state.exit_code, state.error) == (Status.EXITED, 1, INTERRUPTED)


def test_a_program_that_was_executed_runs_on(box, killed):
    record = box.create("sh", "-c", "while ! [ -e /go ]; do sleep 0.01; done; exit 9")
    assert killed("executed", record)[record.id].state.status is Status.RUNNING
    box.exec(record, "touch", "/go")  # the end of the container may kill it
    assert box.wait(record) == 9


def test_a_program_without_any_record_is_killed(box, killed):
    record = box.create("sleep", "1000")
    assert killed("executed", record, keeper=True)[record.id].state.status is Status.CREATED
    box.do(box.session.start(record.id))


@pytest.mark.parametrize("moment", ["cleaned", "released"])
def test_a_removal_is_finished(box, killed, moment):
    record = box.create("true", mounts=(Mount(type="volume", target="/data"),), name="tremoved")
    assert killed(moment, record) == {}
    assert not os.path.exists(box.session.folder(record.id))
    assert not os.listdir(box.roots.volumes)
    box.create("true", name="tremoved")


def test_a_reboot_during_a_start(box, killed):
    """Then the run root is empty, as after a supervisor that exited cleanly."""
    record = box.create("sleep", "1000")
    state = killed("start", record, reboot=True)[record.id].state
    assert (state.status, state.error) == (Status.CREATED, INTERRUPTED)
    assert not os.path.exists(f"{box.session.folder(record.id)}/starting.json")


def test_a_reboot_during_a_removal(box, killed):
    record = box.create("true", mounts=(Mount(type="volume", target="/data"),), name="tremoved")
    assert killed("released", record, reboot=True) == {}
    assert not os.path.exists(box.session.folder(record.id))
    assert not os.listdir(box.roots.volumes)


def test_a_reboot_during_a_creation(box):
    half = f"{box.roots.groups}/{box.group}/{'5' * 64}"
    box.do(box.session.close())
    os.makedirs(half)
    box.session = box.do(box.engine.session(box.group, LoopTasks()))
    box.do(box.session.adopt(clean=True))
    assert not os.path.exists(half)


def test_tidying_up_removes_the_remains_of_a_killed_build(box):
    killed, alive = f"{box.roots.run}/build-killed", f"{box.roots.run}/build-alive"
    os.makedirs(f"{killed}/0123456789ab")
    os.makedirs(alive)
    with open(f"{alive}/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        box.do(box.session.close())
        assert os.path.exists(alive) and not os.path.exists(killed)
    shutil.rmtree(alive)
    box.session = box.do(box.engine.session(box.group, LoopTasks()))
    box.do(box.session.adopt())
