"""Notifies waiters that something about a container has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import Event

Outcome = TypeVar("Outcome")


class Notifier:
    """Everything that changes a container's state tells it here; what the state is, is the session's to know."""

    def __init__(self) -> None:
        self._events: dict[str, Event] = {}

    def tell(self, container_id: str) -> None:
        """Something about this container has changed."""
        if event := self._events.pop(container_id, None):
            event.set()

    async def until(self, container_id: str, look: Callable[[], Outcome | None]) -> Outcome:
        """Look now and after each change, until `look` gives something (or raises)."""
        while (found := look()) is None:
            await self._events.setdefault(container_id, Event()).wait()
        return found
