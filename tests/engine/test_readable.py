"""Descriptors in an event loop."""

import asyncio
import os
import socket

import pytest

from engine.readable import Descriptor, Readable


def run(work):
    asyncio.run(asyncio.wait_for(work, 30))


def test_callback_runs_while_readable():
    async def work():
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        came = asyncio.Event()
        reading = Readable(ours, came.set)
        theirs.send(b"x")
        await came.wait()
        reading.close()
        reading.close()
        assert ours.fileno() == -1
        theirs.close()

    run(work())


def test_a_number_that_was_closed_by_others_and_comes_back_is_reported():
    """The kernel forgets a closed descriptor; the selector does not."""

    async def work():
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        loop.add_reader(reading, print)
        os.close(reading)
        os.close(writing)
        came = asyncio.Event()
        again, writing = os.pipe()
        assert again == reading
        found = Readable(Descriptor(again), came.set)
        os.write(writing, b"x")
        await came.wait()
        found.close()
        with pytest.raises(OSError):
            os.fstat(again)
        os.close(writing)

    run(work())


def test_writability_is_reported_until_no_longer_wanted():
    async def work():
        ours, theirs = socket.socketpair()
        times = []
        enough = asyncio.Event()
        reading = Readable(ours, print)

        def room():
            times.append(1)
            if len(times) == 3:
                reading.when_writable(None)
                enough.set()

        reading.when_writable(room)
        await enough.wait()
        await asyncio.sleep(0)
        assert len(times) == 3
        reading.close()
        theirs.close()

    run(work())


def test_close_after_the_loop_ended():
    kept = []
    reading, writing = os.pipe()

    async def work():
        kept.append(Readable(Descriptor(reading), print))

    run(work())
    kept[0].close()
    with pytest.raises(OSError):
        os.fstat(reading)
    os.close(writing)
