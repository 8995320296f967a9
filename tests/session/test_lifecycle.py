"""Create, start, stop, remove; one container and many concurrently, with networks."""

import asyncio
import errno
import os
import re

import pytest

from engine.errors import Conflict, EngineError, InvalidSpec, NotFound, OperationFailed, StartFailed, WrongState
from engine.session import group_store
from engine.spec.container import Attachment, Mount, Restart
from engine.spec.network import NetworkSpec
from engine.spec.state import Status
from engine.volume import store as volume_store

MANY = 20


def test_a_container_from_creation_to_removal(box):
    created = box.create("sh", "-c", "echo begun; touch /begun; exec sleep 1000")
    assert created.state.status is Status.CREATED and created.state.created_at
    assert box.engine.containers(box.group) == [created]
    started = box.do(box.session.start(created.id))
    assert started.state.status is Status.RUNNING and started.state.pid
    assert box.engine.containers(box.group) == [started]
    box.inside(created, "while ! [ -e /begun ]; do sleep 0.01; done")
    ended = box.do(box.session.stop(created.id))
    assert ended.exit_code == 137
    (record,) = box.engine.containers(box.group)
    assert record.state.status is Status.EXITED and record.state.exit_code == 137 and record.state.finished_at
    assert box.log(created) == "begun\n"
    box.do(box.session.remove(created.id))
    assert box.engine.containers(box.group) == []


def test_a_stopped_container_starts_again_with_its_files(box):
    record = box.start("sh", "-c", "cat /kept 2>/dev/null; echo again >> /kept")
    box.wait(record)
    box.do(box.session.start(record.id))
    box.wait(record)
    assert box.log(record) == "again\n"


@pytest.mark.parametrize("round_", [1, 2])
def test_concurrent_starts_with_networks(box, round_):
    async def all_of_them():
        session = box.session
        await session.create_network(NetworkSpec(name="many"))
        specs = [box.spec("sleep", "1000", networks=(Attachment(network="many"),)) for _ in range(MANY)]
        made = [await session.create(spec) for spec in specs]
        started = await asyncio.gather(*(session.start(record.id) for record in made))
        addresses = {record.state.endpoints[0].ipv4_address for record in started}
        assert len(addresses) == MANY
        codes = [ended.exit_code for ended in await asyncio.gather(*(session.stop(record.id) for record in made))]
        assert codes == [137] * MANY
        await asyncio.gather(*(session.remove(record.id) for record in made))
        await session.remove_network("many")

    box.do(all_of_them(), 30)


def test_the_first_is_created_before_the_last_begins(box, monkeypatch):
    """So that it can start meanwhile."""
    steps = []
    claim = group_store.claim
    monkeypatch.setattr(group_store, "claim", lambda *of: (steps.append("begun"), claim(*of)))

    async def one(number):
        record = await box.session.create(box.spec("true"))
        steps.append("created")
        await box.session.remove(record.id)

    async def all_of_them():
        await asyncio.gather(*map(one, range(20)))

    box.do(all_of_them())
    assert steps.count("begun") == steps.count("created") == 20
    assert "begun" in steps[steps.index("created") :]


def test_containers_reach_each_other_by_name(box):
    box.do(box.session.create_network(NetworkSpec(name="names")))
    networks = (Attachment(network="names", aliases=("db",)),)
    box.start("nc", "-l", "-p", "80", "-e", "echo", "hello", networks=networks)
    client = box.create("sh", "-c", "nc db 80", networks=(Attachment(network="names"),))

    async def end():
        await box.session.start(client.id)
        await box.session.ended[client.id].wait()

    box.do(end())
    assert box.log(client) == "hello\n"


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        (("nothing-of-this-name",), 127, "executable file not found in $PATH"),
        (("/bin/none",), 127, "no such file or directory"),
        (("/etc",), 126, "permission denied"),
        (("/etc/passwd",), 126, "permission denied"),
    ],
)
def test_missing_program_is_reported(box, command, code, text):
    record = box.create(*command)
    with pytest.raises(StartFailed, match=text.replace("$", r"\$")) as raised:
        box.do(box.session.start(record.id))
    assert raised.value.exit_code == code
    state = box.state(record)
    assert state.status is Status.CREATED and state.exit_code == code and text in state.error


def test_stop_sends_the_stop_signal_first_then_kills(box):
    script = "trap 'exit 7' USR1; touch /ready; while :; do sleep 0.01; done"
    polite = box.start("sh", "-c", script, stop_signal="SIGUSR1")
    box.inside(polite, "while ! [ -e /ready ]; do sleep 0.01; done")
    assert box.do(box.session.stop(polite.id)).exit_code == 7
    stubborn = box.start("sh", "-c", "trap '' TERM; sleep 1000", stop_signal="SIGTERM", stop_timeout=0.1)
    assert box.do(box.session.stop(stubborn.id)).exit_code == 137


def test_wrong_states_are_refused(box):
    record = box.create("true")
    for operation in (box.session.pause, box.session.unpause):
        with pytest.raises(WrongState):
            box.do(operation(record.id))
    with pytest.raises(WrongState):
        box.do(box.session.signal(record.id, 15))
    assert box.do(box.session.stop(record.id)) is None
    box.do(box.session.start(record.id))
    box.wait(record)
    running = box.start()
    with pytest.raises(WrongState, match="stop it before removing it"):
        box.do(box.session.remove(running.id))
    with pytest.raises(WrongState, match="cannot be started"):
        box.do(box.session.start(running.id))


def test_removal_whose_volume_cannot_be_removed_can_be_repeated(box, monkeypatch):
    record = box.start("true", mounts=(Mount(type="volume", target="/v"),))
    box.wait(record)
    volumes = record.state.anonymous_volumes

    def refuse(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(volume_store, "remove_tree", refuse)
        with pytest.raises(OperationFailed, match="EIO"):
            box.do(box.session.remove(record.id, volumes=True))
    assert box.state(record).anonymous_volumes == volumes != ()
    box.do(box.session.remove(record.id, volumes=True))
    assert box.engine.volumes() == [] == os.listdir(box.roots.volumes)


def test_names_are_unique_and_can_change(box):
    record = box.create("true", name="tone")
    with pytest.raises(Conflict, match='"tone" is already in use'):
        box.create("true", name="tone")
    box.do(box.session.rename(record.id, "ttwo"))
    assert [one.spec.name for one in box.engine.containers(box.group)] == ["ttwo"]
    other = box.create("true", name="tone")
    with pytest.raises(Conflict):
        box.do(box.session.rename(other.id, "ttwo"))


def test_missing_command_is_reported(box):
    with pytest.raises(InvalidSpec, match="no command"):
        box.create(entrypoint=(), command=())
    with pytest.raises(NotFound):
        box.create("true", image="sha256:" + "0" * 64)
    with pytest.raises(NotFound):
        box.do(box.session.start("0" * 64))


def test_pause_and_unpause(box):
    record = box.start("sh", "-c", "while :; do echo tick; sleep 0.01; done")
    box.do(box.session.pause(record.id))
    assert box.state(record).status is Status.PAUSED
    box.engine.logs(box.group, record.id).close()
    with pytest.raises(WrongState, match="paused"):
        box.exec(record, "true")
    box.do(box.session.unpause(record.id))
    assert box.exec(record, "true")[0] == 0
    box.do(box.session.pause(record.id))
    assert box.do(box.session.stop(record.id)).exit_code == 137


@pytest.mark.parametrize(
    ("policy", "stop_signal", "signal", "stops"),
    [
        ("always", "", "TERM", True),
        ("on-failure", "", "HUP", True),
        ("always", "SIGUSR1", "10", True),
        ("always", "SIGUSR1", "INT", False),
        ("unless-stopped", "SIGUSR1", "INT", True),
    ],
)
def test_a_signal_that_counts_as_a_stop(box, policy, stop_signal, signal, stops):
    record = box.start(restart=Restart(policy=policy), stop_signal=stop_signal)
    box.do(box.session.signal(record.id, signal))
    assert box.state(record).stopped_by_user is stops
    box.do(box.session.stop(record.id, timeout=0))
    assert box.do(box.session.start(record.id)).state.stopped_by_user is False


@pytest.mark.parametrize("stop_signal", ["SIGFOO", "0", "65", "-9", "RTMIN+99", "9999999999999"])
def test_an_invalid_stop_signal(box, stop_signal):
    with pytest.raises(EngineError, match=f"stop_signal: {re.escape(repr(stop_signal))} is not a valid signal"):
        box.create("true", stop_signal=stop_signal)


def test_a_nul_character_in_what_the_image_says(box):
    with pytest.raises(EngineError, match="the environment contains a NUL character"):
        box.start(environment={"A": "b\0c"})
