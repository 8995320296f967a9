"""Clients that wait for changes of a container. They share the observer's watches, because a user has only 128 inotify
instances (inotify(7), fs.inotify.max_user_instances)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class Follower:
    """Waits for changes of one container."""

    def __init__(self, container_id: str) -> None:
        self.container_id = container_id
        self._changed = anyio.Event()

    def notify(self) -> None:
        self._changed.set()

    async def changed(self) -> None:
        """Return at the first change since the last call, or since the follower began."""
        await self._changed.wait()
        self._changed = anyio.Event()


class Followers:
    """The followers by group."""

    def __init__(self) -> None:
        self._followers: dict[str, list[Follower]] = {}

    @contextmanager
    def follow(self, group: str, container_id: str) -> Iterator[Follower]:
        follower = Follower(container_id)
        self._followers.setdefault(group, []).append(follower)
        try:
            yield follower
        finally:
            self._followers[group].remove(follower)
            if not self._followers[group]:
                del self._followers[group]

    def notify(self, group: str, changed: set[str] | None = None) -> None:
        """Wake those that wait for a container among `changed`, where "" stands for any; by default all of the group."""
        for follower in self._followers.get(group, ()):
            if changed is None or "" in changed or follower.container_id in changed:
                follower.notify()
