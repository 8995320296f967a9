"""Where jobs are kept: a folder each below <state>/jobs/<project>, which outlives containers, supervisors and reboots.

    <job>.job/definition.json   while the job is registered
    <job>.job/progress.json     schedule and runs: what is decided is written here before it is done
    <job>.job/<run id>-<n>.log  what attempt n of a run wrote, a JSON line [time, stream, text] each

Only the project's supervisor writes; commands read.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

from composer.plan.observed import ObservedJob
from composer.run.jobs.records import Definition, Progress, Run, decode_definition, decode_progress
from engine.errors import OperationFailed
from engine.paths import Roots, make_private, private
from engine.spec.stream import LogEntry

LOG_BYTES = 10 * 1024 * 1024
"""The most that is kept of a run's output: its end."""
SUFFIX = ".job"


def observed(definition: Definition | None, progress: Progress) -> ObservedJob:
    """A job, for a plan."""
    return ObservedJob(
        digest=definition.digest if definition is not None else "",
        scheduled=definition is not None and definition.job.scheduled,
        stopped=definition is not None and progress.stopped,
        running=progress.current is not None,
    )


class Journal:
    """One project's jobs. Raises OperationFailed for what cannot be read or written."""

    def __init__(self, roots: Roots, project: str) -> None:
        self.project = project
        self.folder = f"{roots.jobs}/{project}"

    def names(self) -> list[str]:
        """Those that are registered, and those that only have a history."""
        try:
            found = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return sorted(name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX))

    def definition(self, name: str) -> Definition | None:
        """None when the job is not registered, or nothing that this release understands: `up` registers it again."""
        data = self._read(name, "definition.json")
        try:
            return decode_definition(data) if data else None
        except msgspec.DecodeError:
            return None

    def progress(self, name: str) -> Progress:
        data = self._read(name, "progress.json")
        try:
            return decode_progress(data) if data else Progress()
        except msgspec.DecodeError:
            return Progress()

    def observed(self) -> dict[str, ObservedJob]:
        """The jobs, for a plan."""
        return {name: observed(self.definition(name), self.progress(name)) for name in self.names()}

    def register(self, definition: Definition) -> None:
        self._write(definition.name, "definition.json", msgspec.json.encode(definition))

    def save(self, name: str, progress: Progress) -> None:
        self._write(name, "progress.json", msgspec.json.encode(progress))

    def unregister(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(name, "definition.json"))

    def forget(self, name: str) -> None:
        """Everything of a job, its history, too."""
        folder = self._path(name, "")
        with contextlib.suppress(FileNotFoundError):
            for file in os.listdir(folder):
                os.unlink(f"{folder}{file}")
            os.rmdir(folder)
            with contextlib.suppress(OSError):
                os.rmdir(self.folder)

    # ── logs ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def keep_log(self, name: str, run: Run, entries: Iterable[LogEntry]) -> int:
        """Keep what the run's latest attempt wrote; how many entries the bound has taken from its beginning."""
        kept: deque[bytes] = deque()
        size = cut = 0
        for entry in entries:
            kept.append(json.dumps((entry.time, entry.stream, entry.text)).encode())  # bytes that are no UTF-8, too
            size += len(kept[-1])
            while size > LOG_BYTES:
                size -= len(kept.popleft())
                cut += 1
        self._write(name, f"{run.id}-{run.attempt}.log", b"".join(line + b"\n" for line in kept))
        return cut

    def has_log(self, name: str, run: Run) -> bool:
        """Whether the output of the run's latest attempt has been kept: the attempt is over."""
        return os.path.exists(self._path(name, f"{run.id}-{run.attempt}.log"))

    def log(self, name: str, run: Run, *, first: int = 1) -> Iterator[LogEntry]:
        """What was kept of the output of a run's attempts, from the `first` on."""
        for attempt in range(first, run.attempt + 1):
            for line in self._read(name, f"{run.id}-{attempt}.log").splitlines():
                time, stream, text = json.loads(line)
                yield LogEntry(time=time, stream=stream, text=text)

    def drop_log(self, name: str, run: Run) -> None:
        for attempt in range(1, run.attempt + 1):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(name, f"{run.id}-{attempt}.log"))

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _path(self, name: str, file: str) -> str:
        return f"{self.folder}/{name}{SUFFIX}/{file}"

    def _read(self, name: str, file: str) -> bytes:
        path = self._path(name, file)
        try:
            with open(path, "rb") as opened:
                return opened.read()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise OperationFailed.of("read", path, error) from error

    def _write(self, name: str, file: str, data: bytes) -> None:
        """Replace a file at once and for good: what it says is on the disc when this returns."""
        path = self._path(name, file)
        try:
            make_private(os.path.dirname(path))
            with open(f"{path}.new", "wb", opener=private) as opened:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            os.replace(f"{path}.new", path)
            folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise OperationFailed.of("write", path, error) from error
