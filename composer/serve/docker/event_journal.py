"""Docker's events (Docker Engine API 1.55, SystemEvents): from changes in the state root, by any process (observer.py), and
from operations of this server that leave no trace there.

    state of a container │ network, volume created or removed ─▶ Observer ─┐
    kill, attach, exec, tag, pull … ───────────────────────────────────────┴▶ Journal ─▶ history (--since), followers
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

import anyio

from composer.view import lookup

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from engine.spec.image import ImageRecord
    from engine.spec.state import ContainerRecord

KEPT = 4096
"""The number of events remembered for --since."""
BEHIND = 65536
"""The number of events that a slow follower may lag behind; beyond that it loses the oldest."""

Event = dict[str, Any]


class Journal:
    """The latest events in order, and their followers."""

    def __init__(self) -> None:
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._followers: list[tuple[deque[Event], anyio.Event]] = []

    def add(
        self, kind: str, action: str, actor: str, attributes: Mapping[str, str], timestamp: float | None = None
    ) -> None:
        """Add an event of the object `actor` (an id or a name) at `timestamp` (seconds since the epoch)."""
        nanoseconds = round((timestamp or time.time()) * 1e9)
        event: Event = {
            "Type": kind,
            "Action": action,
            "Actor": {"ID": actor, "Attributes": dict(sorted(attributes.items()))},
            "scope": "local",
            "time": nanoseconds // 1_000_000_000,
            "timeNano": nanoseconds,
        }
        if kind in ("container", "image"):
            event = {"status": action, "id": actor, **event}
            if kind == "container":
                event["from"] = attributes.get("image", "")
        self._kept.append(event)
        for waiting, arrived in self._followers:
            waiting.append(event)
            arrived.set()

    def container(self, action: str, record: ContainerRecord, timestamp: float | None = None, **more: str) -> None:
        spec = record.spec
        attributes = {**lookup.labels(record), **more, "image": spec.image_ref or spec.image, "name": spec.name}
        self.add("container", action, record.id, attributes, timestamp)

    def image(self, action: str, image_id: str, labels: Mapping[str, str] | None = None, *, name: str = "") -> None:
        self.add("image", action, image_id, {**(labels or {}), "name": name or image_id})

    def built(self, record: ImageRecord, tags: Iterable[str]) -> None:
        """Add the events of a build; `tags` are names as clients see them."""
        for tag in tags:
            self.image("tag", record.id, record.config.labels, name=tag)
        self.image("create", record.id, record.config.labels)

    def pruned(self, kind: str, size: int) -> None:
        """Add the event that ends a prune, which freed `size` bytes."""
        self.add(kind, "prune", "", {"reclaimed": str(size)})

    def history(self) -> list[Event]:
        """The remembered events, oldest first."""
        return sorted(self._kept, key=lambda event: int(event["timeNano"]))

    @property
    def listeners(self) -> int:
        """The number of clients that follow events."""
        return len(self._followers)

    def follow(self) -> Follower:
        return Follower(self._followers)


class Follower:
    """Events from now on, until `close`."""

    def __init__(self, followers: list[tuple[deque[Event], anyio.Event]]) -> None:
        self._followers = followers
        self._waiting: deque[Event] = deque(maxlen=BEHIND)
        self._entry = (self._waiting, anyio.Event())
        followers.append(self._entry)

    async def next(self) -> Event:
        while not self._waiting:
            await self._entry[1].wait()
            if not self._waiting:
                self._renew()
        event = self._waiting.popleft()
        if not self._waiting:
            self._renew()
        return event

    def _renew(self) -> None:
        self.close()
        self._entry = (self._waiting, anyio.Event())
        self._followers.append(self._entry)

    def close(self) -> None:
        self._followers[:] = [one for one in self._followers if one is not self._entry]
