"""A session's tasks where its operations are run one by one in a loop, so that no task group could be open around them."""

import asyncio


class LoopTasks:
    """What a session needs of an anyio task group."""

    def __init__(self):
        self._running = set()

    def start_soon(self, function, *arguments):
        task = asyncio.get_running_loop().create_task(function(*arguments))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
