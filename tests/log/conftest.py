"""Containers without composer: through the engine's own session."""

import asyncio
import contextlib
import os
import secrets
import signal
import time

import pytest

from engine.container.log_reader import LogReader
from engine.session.session import Session
from engine.spec.container import ContainerSpec, Logging
from tests.scenario.command import SESSION
from tests.scenario.leaks import nothing_left
from tests.session.tasks import LoopTasks


class Bench:
    """One session; `run` creates and starts a container, `text` returns the content of its log."""

    def __init__(self, session):
        self.session = session
        self.roots = session.roots

    async def start(self, command, *, driver="", options=None, **fields):
        if isinstance(command, str) and "/go" in command:
            # A reader that opens the FIFO before the last writer has closed it reads nothing, and must wait again.
            command = f"mkfifo /go; {command.replace('read x < /go', 'until read x < /go; do :; done')}"
        argv = ("sh", "-c", command) if isinstance(command, str) else tuple(command)
        spec = ContainerSpec(
            name="l" + secrets.token_hex(4),
            image="busybox",
            command=argv,
            network_mode="none",
            logging=Logging(driver=driver, options=options or {}),
            **fields,
        )
        record = await self.session.create(spec)
        return await self.session.start(record.id)

    async def end(self, record, seconds=60):
        """Wait for the container's end; its exit code."""
        event = self.session.ended.get(record.id)
        if event is not None:
            await asyncio.wait_for(event.wait(), seconds)
        return self.session.record(record.id).state.exit_code

    async def run(self, command, **fields):
        record = await self.start(command, **fields)
        await self.end(record)
        return record

    async def let_go(self, record):
        """Release a container that waits in `read x < /go` (a FIFO that this creates)."""
        path = f"/proc/{record.state.pid}/root/go"

        def go():
            try:
                fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # it does not exist yet, or has no reader yet
                return False
            os.write(fd, b"go\n")
            os.close(fd)
            return True

        assert await self.soon(go)

    async def soon(self, true, seconds=10):
        """Whether it becomes true."""
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                return False
            await self.pause()
        return True

    async def pause(self):
        """Let the session's tasks run, and check again."""
        await asyncio.sleep(0.02)

    def children(self, record):
        """Pids of processes that the container's shell has started and not reaped."""
        with open(f"/proc/{record.state.pid}/task/{record.state.pid}/children") as file:
            return file.read().split()

    def kill_shipper(self):
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError, ValueError):
                with open(f"/proc/{int(entry)}/cmdline") as file:
                    command = file.read()
                keeper = os.readlink("/proc/self/ns/mnt") == os.readlink(f"/proc/{entry}/ns/mnt")
                if "log/ship/main.py" in command and keeper:
                    os.kill(int(entry), signal.SIGKILL)

    def folder(self, record):
        return self.session.folder(record.id)

    def entries(self, record, **options):
        with contextlib.closing(LogReader(self.folder(record), **options)) as reader:
            found = []
            while batch := reader.read():
                found += batch
            return found

    def text(self, record, **options):
        return "".join(entry.text for entry in self.entries(record, **options))


@pytest.fixture
def bench(roots):
    """Call it with a coroutine function that takes a Bench; everything is removed at the end."""

    def run(story):
        async def whole():
            found = Bench(Session(roots, SESSION + secrets.token_hex(3), LoopTasks()))
            await found.session.adopt()
            try:
                return await story(found)
            except BaseException:
                with contextlib.suppress(OSError), open(f"{roots.run}/{found.session.group}/keeper.log") as file:
                    print(file.read())
                raise
            finally:
                for key in list(found.session.records):
                    await found.session.remove(key, force=True, volumes=True)
                await found.session.close()

        return asyncio.run(whole())

    with nothing_left(roots):
        yield run


@pytest.fixture
def receive():
    """Creates receivers; all are stopped at the end."""
    made = []

    def make(kind, where=None):
        made.append(kind(where))
        return made[-1]

    yield make
    for receiver in made:
        receiver.stop()
