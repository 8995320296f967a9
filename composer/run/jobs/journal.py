"""The files of jobs: one folder per job below <state>/jobs/<project>. They outlive containers, supervisors and reboots.

    <job>.job/definition.json   exists while the job is registered
    <job>.job/progress.json     schedule and runs: every decision is written here before it is carried out
    <job>.job/<run id>-<n>.log  output of attempt n of a run, as JSON lines [time, stream, text]

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
"""Size limit of a run's stored output; the end is kept."""
SUFFIX = ".job"


def observed(definition: Definition | None, progress: Progress) -> ObservedJob:
    """The job as plans see it."""
    return ObservedJob(
        digest=definition.digest if definition is not None else "",
        scheduled=definition is not None and definition.job.scheduled,
        stopped=definition is not None and progress.stopped,
        running=progress.current is not None,
    )


class Journal:
    """The files of one project's jobs. Raises OperationFailed when one cannot be read or written."""

    def __init__(self, roots: Roots, project: str) -> None:
        self.project = project
        self.folder = f"{roots.jobs}/{project}"

    def names(self) -> list[str]:
        """The registered jobs, and those that only have a history."""
        try:
            found = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return sorted(name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX))

    def definition(self, name: str) -> Definition | None:
        """None if the job is not registered, or in a form that this release cannot read. Then `up` registers it
        again."""
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
        """The jobs as plans see them."""
        return {name: observed(self.definition(name), self.progress(name)) for name in self.names()}

    def register(self, definition: Definition) -> None:
        self._write(definition.name, "definition.json", msgspec.json.encode(definition))

    def save(self, name: str, progress: Progress) -> None:
        self._write(name, "progress.json", msgspec.json.encode(progress))

    def unregister(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(name, "definition.json"))

    def forget(self, name: str) -> None:
        """Delete a job with its history."""
        folder = self._path(name, "")
        with contextlib.suppress(FileNotFoundError):
            for file in os.listdir(folder):
                os.unlink(f"{folder}{file}")
            os.rmdir(folder)
            with contextlib.suppress(OSError):
                os.rmdir(self.folder)

    # ── logs ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def keep_log(self, name: str, run: Run, entries: Iterable[LogEntry]) -> int:
        """Store the output of the run's latest attempt. Returns how many entries were cut from its beginning."""
        kept: deque[bytes] = deque()
        size = cut = 0
        for entry in entries:
            kept.append(
                json.dumps((entry.time, entry.stream, entry.text)).encode()
            )  # the text may contain invalid UTF-8
            size += len(kept[-1])
            while size > LOG_BYTES:
                size -= len(kept.popleft())
                cut += 1
        self._write(name, f"{run.id}-{run.attempt}.log", b"".join(line + b"\n" for line in kept))
        return cut

    def has_log(self, name: str, run: Run) -> bool:
        """Whether the output of the run's latest attempt is stored, which means that the attempt is over."""
        return os.path.exists(self._path(name, f"{run.id}-{run.attempt}.log"))

    def log(self, name: str, run: Run, *, first: int = 1) -> Iterator[LogEntry]:
        """The stored output of a run's attempts, from attempt `first` on."""
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
        """Replace a file atomically and durably."""
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
