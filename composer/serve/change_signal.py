"""Wakes the tasks that wait for something to change."""

from __future__ import annotations

from anyio import Event


class ChangeSignal:
    """A condition without a lock: tasks look at what they need, and call `wait` if it is not there yet."""

    def __init__(self) -> None:
        self._event = Event()

    def notify(self) -> None:
        """Wake all tasks that are waiting."""
        event, self._event = self._event, Event()
        event.set()

    async def wait(self) -> None:
        """Return at the next `notify`."""
        await self._event.wait()
