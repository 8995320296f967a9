"""The session that takes over a group replaces a keeper of another version; its containers keep running."""

import hashlib

import pytest

from engine import control
from engine.errors import OtherVersion
from engine.keeper import protocol
from engine.session.process import AttachedProcess, ExecProcess
from engine.session.session import Session
from engine.spec.container import ExecSpec
from tests.keeper.test_faults import keeper_pid
from tests.session.tasks import LoopTasks


def claims(bench, version):
    """The group's keeper reports another version."""
    with open(control.lock_of(bench.roots.keeper_socket(bench.session.group)), "w") as file:
        file.write(version)


async def taken_over(bench):
    """A new session in place of the bench's, as after a supervisor has exited."""
    earlier = bench.session
    await earlier.close()
    bench.session = Session(earlier.roots, earlier.group, LoopTasks())
    return await bench.session.adopt()


@pytest.mark.parametrize("version", ["0", ""])
def test_replaced_by_a_new_session(bench, version):
    async def story(bench):
        plain = await bench.start("echo before; read x < /go; echo after; exit 7")
        terminal = await bench.start("echo before; read x < /go; echo after; exit 3", tty=True)
        for record in (plain, terminal):
            assert await bench.soon(lambda record=record: "before" in bench.text(record))
        old = keeper_pid(bench)
        claims(bench, version)
        found = await taken_over(bench)
        assert {(r.state.pid, r.state.status.value) for r in found} == {
            (r.state.pid, "running") for r in (plain, terminal)
        }
        assert keeper_pid(bench) not in (old, None)
        for record, code in ((plain, 7), (terminal, 3)):
            await bench.let_go(record)
            assert await bench.end(record) == code
        assert bench.text(plain) == "before\nafter\n"
        assert bench.text(terminal) == "before\r\nafter\r\n"

    bench(story)


def test_command_refuses_another_version(bench):
    async def story(bench):
        record = await bench.start("echo before; read x < /go")
        claims(bench, "0")
        where = bench.roots, bench.session.group, record.id
        with pytest.raises(OtherVersion, match=r"process \d+, which listens on keeper.sock, uses version 0"):
            AttachedProcess(*where)
        with pytest.raises(OtherVersion):
            ExecProcess(*where, ExecSpec(args=("true",)), (0, 1, 2))
        claims(bench, protocol.VERSION)

    bench(story)


def test_newer_keeper_is_left_alone(bench):
    """A session that had a keeper finds one of another version: the program was upgraded meanwhile."""

    async def story(bench):
        record = await bench.start("read x < /go; exit 5")
        claims(bench, str(int(protocol.VERSION) + 1))
        pid = keeper_pid(bench)
        with pytest.raises(OtherVersion):
            await bench.session.adopt()
        assert keeper_pid(bench) == pid
        claims(bench, protocol.VERSION)
        await bench.let_go(record)
        assert await bench.end(record) == 5

    bench(story)


def test_the_version_goes_with_the_messages():
    """A change of the table in protocol.py must increase VERSION, unless older keepers and newer sessions still
    understand each other fully; then only this digest changes."""
    digest = hashlib.sha256(protocol.__doc__.encode()).hexdigest()[:12]
    assert (protocol.VERSION, digest) == ("3", "cd1955fe4974")
