"""Notifies waiters that something about a container has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import Event

Outcome = TypeVar("Outcome")


class Notifier:
    """Every change of a container's state is reported here. The session has the state itself."""

    def __init__(self) -> None:
        self._events: dict[str, Event] = {}

    def notify(self, container_id: str) -> None:
        """Report a change of this container."""
        if event := self._events.pop(container_id, None):
            event.set()

    async def until(self, container_id: str, look: Callable[[], Outcome | None]) -> Outcome:
        """Call `look` now and after each change, until it returns something or raises."""
        while (found := look()) is None:
            await self._events.setdefault(container_id, Event()).wait()
        return found
