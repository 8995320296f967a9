"""The scheduler: starts jobs when they are due, and carries out what commands request.

A decision is in the journal before it is carried out, in a file that is replaced atomically. So after a crash at any
point, the next scheduler finds each fire either undecided, and decides it, or recorded as a run, and continues that. No
fire is lost, and none happens twice."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from anyio import CancelScope, Event, get_cancelled_exc_class, move_on_after
from anyio.abc import TaskGroup
from msgspec import structs

from composer.plan.observed import ObservedJob
from composer.run.jobs import timing
from composer.run.jobs.journal import Journal
from composer.run.jobs.records import DEPENDENCY, MANUAL, SCHEDULE, Definition, Run, RunState
from composer.run.jobs.runs import NOT_BEGUN, Runner, Runs
from composer.run.jobs.table import Job, Jobs
from engine.errors import EngineError

SLICE = 10.0
"""Seconds between checks of the clock, which may have been set, or jumped during a suspend."""


class Scheduler:
    """`idle` is called when there may be nothing left to do. `clock` returns seconds since the epoch."""

    def __init__(
        self, journal: Journal, runner: Runner, tasks: TaskGroup, idle: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.journal, self._runner, self._idle, self._clock = journal, runner, idle, clock
        self._jobs = Jobs(journal)
        self.runs = Runs(self._jobs, runner, tasks, idle, clock)
        self._changed = Event()
        self._suspended = False

    @property
    def busy(self) -> bool:
        """Whether a schedule is armed or a run is unfinished."""
        return self._armed or any(job.progress.current is not None for job in self._jobs)

    def load(self) -> None:
        """Read the jobs. Call `load`, `adopt` and `run` once each, in this order."""
        self._jobs.load()
        for job in self._jobs:
            if job.definition is not None:
                decided = {**timing.armed(job.definition.job.schedules, self._clock()), **job.progress.decided}
                if decided != job.progress.decided:  # killed between a registration's two files
                    self._jobs.save(job, decided=decided)

    async def adopt(self) -> None:
        """Continue the runs of an earlier scheduler, after all missed exits were reported to `runs.ended`."""
        for job in self._jobs:
            if (run := job.progress.current) is not None and not job.launched:
                await self.runs.recover(job, run)
        await self._hold()

    async def _hold(self) -> None:
        await self._runner.hold(self._armed)

    @property
    def _armed(self) -> bool:
        return not self._suspended and any(job.armed for job in self._jobs)

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Start jobs when they are due, until cancelled."""
        begun = True
        while True:
            self._changed = Event()
            now, following = self._clock(), 0.0
            for job in self._jobs:
                if job.armed and not self._suspended:
                    after = self._look(job, now, begun=begun)
                    following = min(following or after, after or following)
            begun = False
            with move_on_after(min(SLICE, max(0.0, following - now)) if following else None):
                await self._changed.wait()

    def _look(self, job: Job, now: float, *, begun: bool) -> float:
        """Decide about a fire that is due. Returns the time of the next fire, 0 for none."""
        assert job.definition is not None
        found = timing.due(job.definition.job.schedules, job.progress.decided, now, begun=begun)
        try:
            if found.planned:
                self._fire(job, found)
            elif found.decided != job.progress.decided:
                self._jobs.save(job, decided=found.decided)
        except EngineError as error:  # a full disk, for example: the fire stays due
            print(f"job {job.name}: {error}", file=sys.stderr, flush=True)
            return now + SLICE
        return found.following

    def _fire(self, job: Job, found: timing.Due) -> None:
        progress = job.progress
        if progress.current is None:
            self.runs.begin(job, self.runs.new(job, SCHEDULE, planned=found.planned), decided=found.decided)
        elif found.queue and not progress.waiting:
            self._jobs.save(job, decided=found.decided, waiting=found.planned)
        else:
            self._jobs.save(job, decided=found.decided, dropped=progress.dropped + 1)

    # ── requests of commands ────────────────────────────────────────────────────────────────────────────────────

    def registered(self, name: str) -> bool:
        return self._jobs.definition(name) is not None

    async def register(self, definition: Definition) -> None:
        """Register a job, replacing one of the same name. Unchanged schedules keep their progress."""
        self.journal.register(definition)
        job = self._jobs.get_or_add(definition.name)
        known = job.definition is not None and not job.progress.stopped
        old = job.progress.decided if known else {}
        job.definition = definition
        fresh = timing.armed(definition.job.schedules, self._clock())
        self._jobs.save(job, decided={key: old.get(key, now) for key, now in fresh.items()}, stopped=False, waiting=0.0)
        await self._hold()
        self._changed.set()

    async def remove(self, name: str, *, history: bool = False) -> None:
        """Unregister a job. The records of its runs are kept, unless `history`."""
        job = self._jobs.get(name)
        if job is None:
            return
        self._jobs.save(job, stopped=True, waiting=0.0)
        await self.runs.end(job, RunState.CANCELLED)
        self.journal.unregister(name)
        job.definition = None
        for run in job.progress.runs:
            await self.runs.remove_container(run)
        if history:
            self._jobs.forget(name)
        await self._hold()
        self._idle()

    async def stop(self, name: str) -> None:
        """Stop the job's schedules, and cancel its run."""
        job = self._jobs.registered(name)
        self._jobs.save(job, stopped=True, waiting=0.0)
        await self.runs.end(job, RunState.CANCELLED)
        await self._hold()
        self._idle()

    async def suspend(self) -> None:
        """Stop firing, because the machine shuts down. The next supervisor makes up for missed fires."""
        self._suspended = True
        await self._hold()
        self._idle()

    async def start(self, name: str) -> None:
        """Resume stopped schedules; missed fires are not made up for."""
        await self._resume(self._jobs.registered(name), stopped=False)

    async def pause(self, name: str) -> None:
        """Pause the job's schedules; a run continues."""
        self._jobs.save(self._jobs.registered(name), paused=True, waiting=0.0)
        await self._hold()
        self._idle()

    async def resume(self, name: str) -> None:
        await self._resume(self._jobs.registered(name), paused=False)

    async def _resume(self, job: Job, **fields: bool) -> None:
        assert job.definition is not None
        self._jobs.save(job, decided=timing.armed(job.definition.job.schedules, self._clock()), **fields)
        await self._hold()
        self._changed.set()

    async def cancel(self, name: str) -> str:
        """Cancel the unfinished run. Returns its id, "" if there is none."""
        job = self._jobs.registered(name)
        run = job.progress.current
        if run is None:
            return ""
        await self.runs.end(job, RunState.CANCELLED)
        return run.id

    def begin(self, name: str) -> Run:
        """Start a run of a registered job. Raises WrongState while another run is unfinished."""
        job = self._jobs.registered(name)
        self._jobs.check_idle(job)
        run = self.runs.new(job, MANUAL)
        self.runs.begin(job, run)
        return run

    async def accept(self, definition: Definition, run_id: str, scope: CancelScope) -> Run:
        """Record a run that a command starts itself; `runs.began` or `runs.failed` follows. `scope` cancels the start.

        Registers the job if necessary, but leaves changed schedules to `up`. A command that repeats its request, because its
        supervisor was killed, gets the same run.
        """
        known = self._jobs.definition(definition.name)
        if known is None or (known.digest != definition.digest and not known.job.scheduled):
            await self.register(definition)
        job = self._jobs.registered(definition.name)
        run = job.progress.run(run_id)
        if run is None:
            self._jobs.check_idle(job)
            run = self.runs.new(job, MANUAL, run_id=run_id)
            self.runs.add(job, run)
        elif run.error == NOT_BEGUN:
            run = structs.replace(run, state=RunState.PENDING, error="", finished=0.0)
            self._jobs.replace(job, run)
        job.scope = scope
        return run

    async def depend(self, definition: Definition) -> Run:
        """Run a job that a service depends on to completion. A run in progress does not count: wait for it first."""
        known = self._jobs.definition(definition.name)
        if known is None or known.digest != definition.digest:
            await self.register(definition)
        job = self._jobs.registered(definition.name)
        while (run := job.progress.current) is not None:
            await self.runs.finished(job.name, run.id)
        run = self.runs.new(job, DEPENDENCY)
        self.runs.begin(job, run)
        try:
            return await self.runs.finished(job.name, run.id)
        except get_cancelled_exc_class():
            with CancelScope(shield=True):
                await self.cancel(job.name)
            raise

    def observed(self) -> dict[str, ObservedJob]:
        """The jobs as plans see them."""
        return self._jobs.observed()
