"""Which request may change the project, and when it passes its turn to others."""

import asyncio

from anyio import create_task_group

from composer.run.turns import Turn, Turns
from tests.run.fake import run


def test_requests_are_served_in_order():
    log = []

    async def request(turns, name):
        turn = Turn(None, turns)
        await turn.begin()
        log.append(f"{name} begins")
        await asyncio.sleep(1)
        log.append(f"{name} ends")
        turn.end()

    async def main():
        turns = Turns()
        async with create_task_group() as tasks:
            for name in "abc":
                tasks.start_soon(request, turns, name)
        assert not turns.taken

    run(main)
    assert log == [f"{name} {word}" for name in "abc" for word in ("begins", "ends")]


def test_a_request_that_gave_up_waiting_is_skipped():
    async def main():
        turns = Turns()
        first, second, third = (Turn(None, turns) for _ in range(3))
        await first.begin()
        waiting = asyncio.create_task(second.begin())
        behind = asyncio.create_task(third.begin())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        first.end()
        await behind
        third.end()
        third.end()
        assert not turns.taken

    run(main)


def test_a_request_cancelled_at_its_turn_passes_it_on():
    async def main():
        turns = Turns()
        first, second = Turn(None, turns), Turn(None, turns)
        await first.begin()
        waiting = asyncio.create_task(second.begin())
        await asyncio.sleep(0)
        first.end()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not turns.taken

    run(main)
