"""A build's progress in BuildKit's format (moby/buildkit, api/services/control, StatusResponse)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from composer.serve.buildkit import wire


def stamp(seconds: float) -> bytes:
    whole, rest = divmod(round(seconds * 1e9), 1_000_000_000)
    return wire.message((1, whole), (2, rest))


class Progress:
    """The events of one build, kept for clients that request its status, possibly late."""

    def __init__(self, ref: str) -> None:
        self._ref = ref
        self._messages: list[bytes] = []
        self._started: dict[object, float] = {}
        self.ended = False
        self._news = anyio.Event()

    def take(self, event: dict[str, object]) -> None:
        """Add an event of engine.build.progress or of a pull."""
        if "step" not in event:
            return
        key, status, now = event["step"], event["status"], time.time()
        began = self._started.setdefault(key, now)
        digest = "sha256:" + hashlib.sha256(f"{self._ref} {key}".encode()).hexdigest()
        if status == "output":
            line = f"{event.get('text', '')}\n"
            log = wire.message((1, digest), (2, stamp(now)), (3, int(str(event.get("stream", 1)))), (4, line))
            self._add(wire.block(3, log))
            return
        if status == "warning":
            text = str(event.get("text", ""))
            self._add(wire.block(4, wire.message((1, digest), (2, 1), (3, text))))
            return
        over = status in ("done", "cached", "error")
        vertex = wire.message(
            (1, digest),
            (3, str(event["name"])),
            (4, int(status == "cached")),
            (5, stamp(began)),
            (6, stamp(now) if over else None),
            (7, str(event.get("text", "")) if status == "error" else None),
        )
        self._add(wire.block(1, vertex))

    @contextmanager
    def vertex(self, name: str) -> Iterator[None]:
        """Show the block's work as a step."""
        event: dict[str, object] = {"step": name, "name": name}
        self.take({**event, "status": "running"})
        try:
            yield
        except BaseException as error:
            self.take({**event, "status": "error", "text": str(error)})
            raise
        self.take({**event, "status": "done"})

    def _add(self, message: bytes) -> None:
        self._messages.append(message)
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()

    def end(self) -> None:
        self.ended = True
        self._wake()

    async def after(self, position: int) -> list[bytes]:
        """The events after `position`; waits for them. Empty at the end."""
        while position >= len(self._messages) and not self.ended:
            await self._news.wait()
        return self._messages[position:]
