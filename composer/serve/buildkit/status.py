"""A build's progress in BuildKit's format (moby/buildkit, api/services/control, StatusResponse)."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from composer.serve.buildkit import wire
from composer.serve.buildkit.exporters import ARCHIVES
from composer.serve.change_signal import ChangeSignal
from engine.errors import BadReference
from engine.image.reference import DEFAULT_TAG, Reference, parse

_BASE = re.compile(r"(\[[^]]*\] FROM )(?:--\S+ )*(\S+)(?: AS (\S+))?", re.IGNORECASE)
_EXPORT = "[internal] exporting to image"
_TARGETS = {
    "": "image",
    "local": "client directory",
    "tar": "client tarball",
    "oci": "oci image format",
    "docker": "docker image format",
}
"""Where a build exports, in BuildKit's words, by the exporter that sends its result to the client."""


def stamp(seconds: float) -> bytes:
    whole, rest = divmod(round(seconds * 1e9), 1_000_000_000)
    return wire.message((1, whole), (2, rest))


class Progress:
    """The events of one build, kept for clients that request its status, possibly late. `sends`: the exporter that
    sends the result to the client, if it is only sent."""

    def __init__(self, ref: str, sends: str = "") -> None:
        self._ref, self.sends = ref, sends
        self._messages: list[bytes] = []
        self._started: dict[object, float] = {}
        self._shown: dict[object, str] = {}
        self._over: set[object] = set()
        self._stages: set[str] = set()
        self.ended = False
        self._change = ChangeSignal()

    def take(self, event: dict[str, object]) -> None:
        """Add an event of engine.build.progress or of a pull; it happened at `time`, by default now."""
        if "step" not in event:
            return
        name, status, now = str(event["name"]), event["status"], float(str(event.get("time", time.time())))
        internal = name.startswith("[internal]")
        if name == _EXPORT:
            name, status = self._target, "running" if status == "done" else status
        key = name if internal else event["step"]
        if (shown := self._shown.setdefault(key, name if internal else self._as_buildkit(name))) == "":
            return
        if status == "output" and key == self._target:
            return  # `exported` shows the image and its names, as BuildKit does
        digest = self._digest(key)
        if status == "output":
            line = f"{event.get('text', '')}\n"
            log = wire.message((1, digest), (2, stamp(now)), (3, int(str(event.get("stream", 1)))), (4, line))
            self._add(wire.block(3, log))
            return
        if status == "warning":
            text = str(event.get("text", ""))
            self._add(wire.block(4, wire.message((1, digest), (2, 1), (3, text))))
            return
        if key in self._over:
            return
        began = self._started.setdefault(key, now)
        over = status in ("done", "cached", "error")
        if over:
            self._over.add(key)
        vertex = wire.message(
            (1, digest),
            (3, shown),
            (4, int(status == "cached")),
            (5, stamp(began)),
            (6, stamp(now) if over else None),
            (7, str(event.get("text", "")) if status == "error" else None),
        )
        self._add(wire.block(1, vertex))

    def _as_buildkit(self, name: str) -> str:
        """The name of a step as BuildKit shows it: the image of FROM in full. "" for a step that it does not show: an
        earlier stage, or scratch, as base."""
        if not (found := _BASE.fullmatch(name)):
            return name
        place, base, stage = found.groups()
        known = base.lower() in self._stages
        if stage:
            self._stages.add(stage.lower())
        if known or base == "scratch":
            return ""
        try:
            image = str(_tagged(parse(base)))
        except BadReference:
            return name
        with self.vertex(f"[internal] load metadata for {image}"):
            return place + image

    def _digest(self, key: object) -> str:
        return "sha256:" + hashlib.sha256(f"{self._ref} {key}".encode()).hexdigest()

    def _part(self, key: str, identity: str, name: str = "", size: int = 0, began: float | None = None) -> None:
        """Show a completed part of the step `key`; `size` in bytes."""
        now = time.time()
        status = wire.message(
            (1, identity),
            (2, self._digest(key)),
            (3, name),
            (4, size),
            (6, stamp(now)),
            (7, stamp(began or now)),
            (8, stamp(now)),
        )
        self._add(wire.block(2, status))

    @contextmanager
    def transfer(self, name: str, file: str) -> Iterator[Callable[[int], None]]:
        """Show the receipt of `file` (dockerfile, context) as a step; the block reports its size in bytes."""
        began = time.time()
        with self.vertex(f"[internal] {name}"):
            yield lambda size: self._part(
                f"[internal] {name}", f"transferring {file}:", name="transferring", size=size, began=began
            )

    def exported(self, image: str, tags: Iterable[str]) -> None:
        """Show the image and its tags as written, or its files as sent, and end the export, which the builder has
        begun."""
        key = self._target
        if self.sends:
            archive = self.sends in ARCHIVES
            self._part(key, "sending tarball" if archive else "copying files", began=self._started.get(key))
        else:
            self._part(key, "exporting layers", began=self._started.get(key))
            self._part(key, f"writing image {image}")
        for tag in tags:
            self._part(key, f"naming to {parse(tag)}")
        self.take({"step": key, "name": key, "status": "done"})

    @property
    def _target(self) -> str:
        return f"exporting to {_TARGETS[self.sends]}"

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
        self._change.notify()

    def end(self) -> None:
        self.ended = True
        self._wake()

    @property
    def messages(self) -> list[bytes]:
        """All events so far."""
        return list(self._messages)

    async def after(self, position: int) -> list[bytes]:
        """The events after `position`; waits for them. Empty at the end."""
        while position >= len(self._messages) and not self.ended:
            await self._change.wait()
        return self._messages[position:]


def _tagged(reference: Reference) -> Reference:
    """The reference with the tag that is implied."""
    if reference.tag or reference.digest:
        return reference
    return Reference(reference.registry, reference.repository, DEFAULT_TAG)
