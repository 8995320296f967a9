"""Work that has begun goes on to its end; waiting for a socket leaves nothing behind."""

import asyncio
import socket
import subprocess
import sys

import pytest

from composer.run.cancellation import readable, shielded, writable
from tests.run.fake import run


class Refused(Exception):
    pass


class Work:
    """Takes a second and says how it went."""

    def __init__(self, error=None):
        self.error, self.done = error, False

    async def do(self):
        await asyncio.sleep(1)
        self.done = True
        if self.error:
            raise self.error
        return "outcome"


def test_without_a_cancellation():
    assert run(lambda: shielded(Work().do())) == "outcome"
    with pytest.raises(Refused):
        run(lambda: shielded(Work(Refused()).do()))


@pytest.mark.parametrize("times", [1, 2])
def test_cancelled_it_goes_on_and_is_cancelled_after_it(times):
    work, written, reached = Work(), [], []

    async def caller():
        written.append(await shielded(work.do()))
        reached.append("the next wait")
        await asyncio.sleep(1)
        reached.append("what comes after it")

    async def main():
        task = asyncio.create_task(caller())
        for _ in range(times):
            await asyncio.sleep(0.1)
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert task.cancelling() == times

    run(main)
    assert work.done
    assert written == ["outcome"]
    assert reached == ["the next wait"]


def test_a_cancellation_that_is_swallowed_after_it_was_delivered_does_not_come_again():
    async def caller():
        await shielded(Work().do())
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(1)
        await asyncio.sleep(1)
        return "went on"

    async def main():
        task = asyncio.create_task(caller())
        await asyncio.sleep(0.1)
        task.cancel()
        assert await task == "went on"

    run(main)


def test_an_error_comes_before_the_cancellation():
    said = []

    async def caller():
        try:
            await shielded(Work(Refused()).do())
        except Refused:
            said.append("refused")
        await asyncio.sleep(1)
        said.append("not cancelled")

    async def main():
        task = asyncio.create_task(caller())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run(main)
    assert said == ["refused"]


def test_cancelled_in_the_moment_when_the_work_ends():
    async def caller(work):
        await shielded(work)
        await asyncio.sleep(1)

    async def main():
        ended = asyncio.Event()
        task = asyncio.create_task(caller(ended.wait()))
        await asyncio.sleep(0.1)
        ended.set()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run(main)


def test_a_group_that_is_given_up_waits_for_it():
    work = Work()

    async def fail():
        await asyncio.sleep(0.1)
        raise Refused

    async def main():
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(shielded(work.do()))
                tasks.create_task(fail())
        assert work.done

    run(main)


def test_waiting_for_a_socket():
    async def main():
        one, other = socket.socketpair()
        one.setblocking(False)
        with one, other:
            loop = asyncio.get_running_loop()
            await writable(one)
            waiting = asyncio.create_task(readable(one))
            await asyncio.sleep(0)
            assert not waiting.done()
            other.send(b"x")
            await waiting
            assert one.recv(10) == b"x"
            for wait, forget in ((readable, loop.remove_reader), (writable, loop.remove_writer)):
                waiting = asyncio.create_task(wait(one))
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])
                assert waiting.cancelled()
                assert not forget(one)

    asyncio.run(main())


def test_ssl_can_be_imported_when_asyncio_was_without_it():
    code = """
import sys
from composer.run.launch import _import_asyncio
_import_asyncio()
assert "_ssl" not in sys.modules
import asyncio, ssl
assert ssl.create_default_context() and not asyncio.sslproto.ssl
asyncio.run(asyncio.to_thread(ssl.create_default_context))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
