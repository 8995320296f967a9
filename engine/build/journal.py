"""The records of past builds, and what they printed.

    <state>/cache/history/<ref>.json   a BuildRecord, written when the build ends
    <state>/cache/history/<ref>.log    its events (engine.build.progress), one a line, each with its `time`

The newest KEPT builds are kept. A record is a convenience: if it cannot be written, the build succeeds without it.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from engine import atomic
from engine.bounded_read import MIB, read_bytes
from engine.build.attest import provenance
from engine.build.attest.facts import Facts
from engine.build.attest.options import Provenance
from engine.errors import EngineError
from engine.paths import Roots, make_private, private
from engine.spec.build_record import REF, BuildRecord, decode_build_record, new_ref

if TYPE_CHECKING:
    from engine.build.progress import Sink
    from engine.spec.image import BuildSpec, ImageRecord

KEPT = 50
LOG_LIMIT = 4 * MIB
"""Bytes of events that are kept of a build; later ones are lost."""
_RECORD_LIMIT = 16 * MIB
_decode_event = msgspec.json.Decoder(dict[str, Any]).decode


class Journal:
    """Records one build: use it as a context manager around the build, `take` as its sink."""

    def __init__(self, roots: Roots, spec: BuildSpec, sink: Sink | None) -> None:
        self._folder, self._spec, self._sink = roots.history, spec, sink
        self._ref = spec.ref if re.fullmatch(REF, spec.ref) else new_ref()
        self._log = -1
        self._room = LOG_LIMIT
        self._status: dict[object, object] = {}
        self._warnings = 0
        self._started = time.time()
        self._facts: dict[str, Callable[[], bytes]] = {}
        self.image: ImageRecord | None = None

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            make_private(self._folder)
            self._log = private(f"{self._folder}/{self._ref}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
        return self

    def take(self, event: dict[str, object]) -> None:
        """Keep an event, and pass it on."""
        if "step" in event:
            if event["status"] == "warning":
                self._warnings += 1
            elif event["status"] != "output":
                self._status[event["step"], str(event["id"])] = event["status"]
            self._write(event)
        if self._sink is not None:
            self._sink(event)

    def _write(self, event: dict[str, object]) -> None:
        line = self._shown(msgspec.json.encode({**event, "time": round(time.time(), 6)})) + b"\n"
        if self._log < 0 or len(line) > self._room:
            return
        self._room -= len(line)
        with contextlib.suppress(OSError):
            os.write(self._log, line)

    def explain(self, facts: Facts) -> None:
        """Keep what a builder for one platform knows at its end."""
        self._facts[facts.platform] = lambda: bytes(provenance.attest(Provenance(version="v0.2"), facts).predicate)

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        spec, states = self._spec, list(self._status.values())
        record = BuildRecord(
            ref=self._ref,
            context=spec.context,
            dockerfile="" if spec.dockerfile_inline is not None else spec.dockerfile,
            target=spec.target,
            platforms=spec.platforms,
            tags=spec.tags,
            args=spec.args,
            labels=spec.labels,
            no_cache=spec.no_cache,
            pull=spec.pull,
            started=self._started,
            ended=time.time(),
            error=_reason(error),
            steps=len(states),
            cached=states.count("cached"),
            completed=states.count("cached") + states.count("done"),
            warnings=self._warnings,
            image=self.image.id if self.image else "",
            provenance={name: msgspec.Raw(made()) for name, made in self._facts.items()},
        )
        with contextlib.suppress(OSError):
            if self._log >= 0:
                os.close(self._log)
                atomic.replace(f"{self._folder}/{self._ref}.json", self._shown(msgspec.json.encode(record)))
            _forget_old(self._folder)

    def _shown(self, data: bytes) -> bytes:
        """With the user's names of temporary copies."""
        for path, name in self._spec.shown_as.items():
            data = data.replace(msgspec.json.encode(path)[1:-1], msgspec.json.encode(name)[1:-1])
        return data


def _reason(error: BaseException | None) -> str:
    if error is None:
        return ""
    if isinstance(error, EngineError):
        return error.message
    return "canceled" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"


def records(roots: Roots) -> list[BuildRecord]:
    """All records, the newest first; damaged ones are left out."""
    found: list[BuildRecord] = []
    for name in _names(roots.history):
        with contextlib.suppress(OSError, msgspec.MsgspecError, EngineError):
            found.append(decode_build_record(read_bytes(f"{roots.history}/{name}", _RECORD_LIMIT, "a build's record")))
    return sorted(found, key=lambda record: record.started, reverse=True)


def events(roots: Roots, ref: str) -> Iterator[dict[str, Any]]:
    """The events of a build, as far as they were kept."""
    if not re.fullmatch(REF, ref):
        return
    with contextlib.suppress(FileNotFoundError), open(f"{roots.history}/{ref}.log", "rb") as file:
        for line in file:
            with contextlib.suppress(msgspec.MsgspecError):
                yield _decode_event(line)


def remove(roots: Roots, ref: str) -> None:
    """Forget a build. It does not matter whether there is a record of it."""
    if not re.fullmatch(REF, ref):
        return
    for suffix in (".json", ".log"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{roots.history}/{ref}{suffix}")


def _names(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if re.fullmatch(rf"{REF}\.json", name)]
    except FileNotFoundError:
        return []


def _forget_old(folder: str) -> None:
    """Remove all but the newest, and logs of builds that were killed."""
    ages: dict[str, float] = {}
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            ref = name.partition(".")[0]
            ages[ref] = max(ages.get(ref, 0.0), os.stat(f"{folder}/{name}").st_mtime)
    for ref in sorted(ages, key=ages.__getitem__, reverse=True)[KEPT:]:
        for suffix in (".json", ".log"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{folder}/{ref}{suffix}")
