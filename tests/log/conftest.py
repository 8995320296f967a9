"""Containers without composer: through the engine's own session."""

import asyncio
import contextlib
import secrets

import pytest

from engine.container.logs import LogReader
from engine.session.session import Session
from engine.spec.container import ContainerSpec, Logging
from tests.scenario.leaks import Observed


class Bench:
    """One session; `run` makes and starts a container, `text` gives what its log has."""

    def __init__(self, session):
        self.session = session
        self.roots = session.roots

    async def start(self, command, *, driver="", options=None, **fields):
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
    """Call it with a coroutine function that takes a Bench; everything is removed in the end."""
    before = Observed.now(roots)

    def run(story):
        async def whole():
            session = Session(roots, "t" + secrets.token_hex(4), ())
            await session.adopt()
            try:
                return await story(Bench(session))
            finally:
                for key in list(session.records):
                    await session.remove(key, force=True, volumes=True)
                await session.close()

        return asyncio.run(whole())

    yield run
    left = before.leaks(roots)
    if left:
        before.clean(roots)
    assert not left, "left behind:\n" + "\n".join(left)
