"""A command's connection: events are sent concurrently with the supervisor's work, and a command that does not read
blocks nothing."""

import os
import signal
import socket
import subprocess
import sys

import anyio
import pytest

from composer.run import connection
from composer.run.connection import Connection
from composer.run.protocol import Frames, Note, event_of


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Connection(ours), theirs


def texts(sock, count):
    frames, found = Frames(), []
    while len(found) < count:
        found += [event_of(one).text for one in frames.feed(sock.recv(1 << 20))]
    return found


def test_events_are_sent_while_the_producer_waits(ends):
    ours, theirs = ends

    async def main():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ours.write)
            for text in ("one", "two"):
                ours.send(Note(text))
            assert await anyio.to_thread.run_sync(texts, theirs, 2) == ["one", "two"]
            tasks.cancel_scope.cancel()

    anyio.run(main)


def test_unread_events_are_queued(ends):
    ours, theirs = ends
    many = [f"{number} " + "x" * 1000 for number in range(2000)]

    async def main():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ours.write)
            for text in many:
                ours.send(Note(text))
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ours.drain)
            assert await anyio.to_thread.run_sync(texts, theirs, len(many)) == many

    anyio.run(main)


def test_a_closed_connection_gets_no_events(ends):
    ours, theirs = ends
    theirs.close()

    async def main():
        ours.send(Note("anybody?"))
        await ours.drain()
        assert await ours.receive() is None

    anyio.run(main)


def test_suspended_peer_is_not_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "PATIENCE", 0.05)
    path = str(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        program = f"import socket, time; s = socket.socket(socket.AF_UNIX); s.connect({path!r}); time.sleep(1000)"
        with subprocess.Popen([sys.executable, "-c", program]) as process:
            sock, _ = listener.accept()
            os.kill(process.pid, signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)
            ours = Connection(sock)

            async def main():
                ours.send(Note("x" * 8_000_000))
                with anyio.fail_after(30):
                    await ours.drain()

            anyio.run(main)
            ours.close()
            process.kill()
