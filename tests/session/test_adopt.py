"""A session that takes over from an earlier one."""

import asyncio
import os

import pytest

from engine.api import Engine
from engine.spec.container import Attachment
from engine.spec.network import NetworkSpec
from engine.spec.state import Status
from tests.session.tasks import LoopTasks


@pytest.fixture
def successor(box):
    """Closes the box's session like a supervisor's death, and returns a function that opens another."""

    def succeed():
        box.do(box.session.close())
        box.engine = Engine(box.roots)
        box.session = box.do(box.engine.session(box.group, LoopTasks()))
        return box.do(box.session.adopt())

    return succeed


def test_running_stopped_and_created_ones_are_taken_over(box, successor):
    running, stopped, created = box.start(), box.start(), box.create("true")
    box.do(box.session.stop(stopped.id))
    found = {record.id: record.state.status for record in successor()}
    assert found == {running.id: Status.RUNNING, stopped.id: Status.EXITED, created.id: Status.CREATED}
    assert box.state(running).pid == running.state.pid
    assert box.exec(running, "true")[0] == 0
    assert box.do(box.session.stop(running.id)).exit_code == 137
    box.do(box.session.start(created.id))
    assert box.wait(created) == 0


def test_unobserved_exit_is_known(box):
    other = box.start("sh", "-c", "while ! [ -e /go ]; do sleep 0.01; done; exit 9")
    box.do(box.session.close())
    pidfd = os.pidfd_open(other.state.pid)
    box.exec(other, "touch", "/go")
    asyncio.run(_readable(pidfd))
    os.close(pidfd)
    box.engine = Engine(box.roots)
    box.session = box.do(box.engine.session(box.group, LoopTasks()))
    found = {one.id: one for one in box.do(box.session.adopt())}
    assert found[other.id].state.status is Status.EXITED and found[other.id].state.exit_code == 9
    assert not os.path.exists(box.roots.running(box.group, other.id))


async def _readable(fd):
    ready = asyncio.Event()
    asyncio.get_running_loop().add_reader(fd, ready.set)
    await asyncio.wait_for(ready.wait(), 30)
    asyncio.get_running_loop().remove_reader(fd)


def test_adopted_names_resolve(box, successor):
    box.do(box.session.create_network(NetworkSpec(name="tadopt")))
    networks = (Attachment(network="tadopt", aliases=("db",)),)
    record = box.start("nc", "-l", "-p", "80", "-e", "echo", "hello", networks=networks)
    client = box.start(networks=(Attachment(network="tadopt"),))
    successor()

    async def ask():
        return await asyncio.to_thread(box.exec, client, "nc", "db", "80")

    assert box.do(ask())[1] == "hello\n"
    assert box.wait(record) == 0


def test_a_creation_cut_short_leaves_neither_name_nor_folder(box, successor):
    record = box.create("true", name="tcut")
    folder = box.session.folder(record.id)
    os.unlink(f"{folder}/spec.json")
    assert successor() == []
    assert not os.path.exists(folder)
    box.create("true", name="tcut")
