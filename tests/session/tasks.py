"""A session's tasks for tests that run its operations one by one in a loop, where no task group can be open around
them."""

import asyncio


class LoopTasks:
    """The part of an anyio task group that a session needs."""

    def __init__(self):
        self._running = set()

    def start_soon(self, function, *arguments):
        task = asyncio.get_running_loop().create_task(function(*arguments))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
