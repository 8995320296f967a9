"""The output of a job's run: the stored output of each attempt, and the live output of the latest one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from composer.plan.labels import JOB_RUN
from engine.errors import EngineError
from engine.poll import readable, write_all
from engine.rfc3339 import nine_digits

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.cli.project.jobs import Listed
    from composer.run.handles import LogReader, Watch
    from composer.run.jobs.records import Run
    from engine.spec.stream import LogEntry

PAUSE = 0.5
"""Seconds between polls of the run's record, because no event reports its changes."""


def show_run(
    context: Context, job: Listed, run: Run, *, follow: bool = False, timestamps: bool = False, tail: int | None = None
) -> int:
    """Print a run's output, or its last `tail` lines; with `follow` continue until it ends."""
    shown = _Shown(timestamps=timestamps)
    live = _Live(context, job, run)
    watch = context.engine.watch(job.project) if follow and not run.state.final else None
    try:
        entries = [*_kept(job, run, 1), *(live.read() if not run.state.final else ())]
        shown.print(entries if tail is None else entries[max(0, len(entries) - tail) :])
        while watch is not None and not run.state.final:
            _await(watch)
            before, run = run, job.journal.progress(job.name).run(run.id) or run
            if job.journal.has_log(job.name, before):
                shown.print(live.read())
                shown.print(_kept(job, run, before.attempt)[live.count + run.cut - before.cut :])
                live.close()
                live = _Live(context, job, run)
            shown.print(live.read() if not run.state.final else ())
    finally:
        live.close()
        if watch is not None:
            watch.close()
    return 0


def _kept(job: Listed, run: Run, first: int) -> Sequence[LogEntry]:
    return list(job.journal.log(job.name, run, first=first))


def _await(watch: Watch) -> None:
    if readable(watch.fileno(), timeout=PAUSE):
        watch.read()


class _Shown:
    def __init__(self, *, timestamps: bool) -> None:
        self._timestamps = timestamps

    def print(self, entries: Iterable[LogEntry]) -> None:
        for entry in entries:
            text = f"{nine_digits(entry.time)} {entry.text}" if self._timestamps else entry.text
            write_all(2 if entry.stream == "stderr" else 1, text.encode(errors="surrogateescape"))


class _Live:
    """The log of the container of the run's latest attempt. `count` is how many entries were read from it."""

    def __init__(self, context: Context, job: Listed, run: Run) -> None:
        self._context, self._job, self._run = context, job, run
        self._reader: LogReader | None = None
        self.count = 0

    def read(self) -> list[LogEntry]:
        found: list[LogEntry] = []
        try:
            self._reader = self._reader or self._open()
            while self._reader is not None and (entries := self._reader.read()):
                found += entries
        except EngineError:
            pass  # removed concurrently: the rest of the log is stored
        self.count += len(found)
        return found

    def _open(self) -> LogReader | None:
        engine, project = self._context.engine, self._job.project
        if self._job.journal.has_log(self._job.name, self._run):
            return None
        for record in engine.containers(project):
            if record.spec.labels.get(JOB_RUN) == self._run.id:
                return engine.logs(project, record.id)
        return None

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
