"""A step that creates a layer."""

from __future__ import annotations

from collections.abc import Callable

from engine.build.progress import Step
from engine.image.layers import Draft


class Task:
    """Its cache key, its line of history, and the action if the cache lacks the key."""

    __slots__ = ("history", "key", "make")

    def __init__(self, key: str, history: str, make: Callable[[Draft, Step], None]) -> None:
        self.key, self.history, self.make = key, history, make
