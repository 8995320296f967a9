"""engine.keeper.client beside a keeper's end of the socket."""

import asyncio
import contextlib
import os
import socket

import pytest

from engine.errors import KeeperLost
from engine.keeper.client import KeeperClient
from engine.keeper.protocol import Channel


@contextlib.contextmanager
def connected():
    """A client, and the keeper's channel. Run it in an event loop."""
    ours, theirs = socket.socketpair()
    client, keeper = KeeperClient(Channel(ours)), Channel(theirs)
    try:
        yield client, keeper
    finally:
        client.close()
        theirs.close()


async def requests(client, count):
    """Requests that have been sent."""
    tasks = [asyncio.ensure_future(client.ask("create")) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


def answer(keeper, number):
    """Answer with a descriptor, at which a read ends."""
    fd = os.open(os.devnull, os.O_RDONLY)
    keeper.send({"re": number}, (fd,))
    os.close(fd)


def test_answers_that_have_arrived_are_handled_together():
    """So that their containers are connected to their networks together."""

    async def scenario():
        with connected() as (client, keeper):
            tasks = await requests(client, 3)
            for number in (1, 2, 3):
                answer(keeper, number)
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            assert len(done) == 3
            for task in done:
                _, (fd,) = task.result()
                os.close(fd)

    asyncio.run(scenario())


def test_answers_before_the_end_count():
    async def scenario():
        with connected() as (client, keeper):
            first, second = await requests(client, 2)
            answer(keeper, 1)
            keeper.sock.close()
            _, (fd,) = await first
            os.close(fd)
            with pytest.raises(KeeperLost):
                await second

    asyncio.run(scenario())
