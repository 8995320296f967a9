"""Turns: requests change the project one at a time, in order of arrival.

A request that only waits for a container's condition passes its turn to others meanwhile, so that
`stop`, `logs` or `run` of another service need not wait for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from anyio import CancelScope, Event

from composer.run.protocol import Request


class Turns:
    """`taken`: whether a request has the turn."""

    def __init__(self) -> None:
        self.taken = False
        self._queue: deque[Event] = deque()

    async def take(self) -> None:
        """Wait for our turn."""
        if not self.taken:
            self.taken = True
            return
        turn = Event()
        self._queue.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self.give()
            else:
                self._queue.remove(turn)
            raise

    def give(self) -> None:
        """Pass the turn to the next request."""
        if self._queue:
            self._queue.popleft().set()
        else:
            self.taken = False


class Turn:
    """A request that is being served, in the cancel scope `work`. `concerns` are the services that it still has to act on."""

    def __init__(self, request: Request, turns: Turns | None = None) -> None:
        self.request = request
        self.work = CancelScope()
        self.superseded_by = ""
        self.concerns: Callable[[], set[str]] = set
        self._turns = turns
        self._has_it = False

    async def begin(self) -> None:
        if self._turns is not None and not self._has_it:
            await self._turns.take()
            self._has_it = True

    def end(self) -> None:
        if self._turns is not None and self._has_it:
            self._has_it = False
            self._turns.give()
