"""The scheduler: starts jobs when they are due, and writes down what becomes of each run.

What is decided is in the journal before it is done, in one file that is replaced at once. So whatever is killed, whenever,
the next scheduler finds a fire either undecided, and decides it, or as a run, and carries that on: none is lost and none
comes twice.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from anyio import CancelScope, Event, get_cancelled_exc_class, move_on_after, sleep
from anyio.abc import TaskGroup
from msgspec import structs

from composer.plan.labels import JOB_RUN
from composer.plan.observed import ObservedJob
from composer.run.jobs import timing
from composer.run.jobs.journal import Journal, observed
from composer.run.jobs.records import DEPENDENCY, MANUAL, SCHEDULE, Definition, Progress, Run, RunState
from composer.run.notifier import Notifier
from engine.errors import EngineError, NotFound, WrongState
from engine.spec.state import ContainerRecord
from engine.spec.stream import LogEntry

SLICE = 10.0
"""Seconds after which the clock is looked at again: it may have been set, or the machine may have slept."""
NOT_BEGUN = "the supervisor was restarted before its program began"
REMOVED = "its container was removed"
REBOOTED = "the machine was restarted while it ran"


class Runner(Protocol):
    """How runs are carried out."""

    async def start(self, definition: Definition, run: Run, scope: CancelScope) -> str:
        """Start what the job depends on, then its container; the container's id. Cancelled by `scope`. EngineError."""
        ...

    def container(self, run: Run) -> ContainerRecord | None:
        """The container of the run's latest attempt, if it has (still) one."""
        ...

    async def stop(self, container_id: str) -> None: ...

    async def remove(self, container_id: str) -> None: ...

    def log(self, container_id: str) -> Sequence[LogEntry]: ...

    async def hold(self, wanted: bool) -> None:
        """Have the supervisor started again whenever it is killed, though no container runs."""
        ...

    def rebooted(self, record: ContainerRecord) -> bool:
        """Whether the container ran before the machine was restarted."""
        ...


class _Job:
    """`launched`: a run is being started, which `scope` ends; `ending` is the state that a run is being ended with."""

    def __init__(self, name: str, definition: Definition | None, progress: Progress) -> None:
        self.name, self.definition, self.progress = name, definition, progress
        self.scope: CancelScope | None = None
        self.launched = False
        self.ending: RunState | None = None

    @property
    def armed(self) -> bool:
        """Whether its schedules fire."""
        scheduled = self.definition is not None and self.definition.job.scheduled
        return scheduled and not self.progress.paused and not self.progress.stopped


class Scheduler:
    """`idle` is called when there may be nothing left to care for. `clock` gives seconds since the epoch."""

    def __init__(
        self, journal: Journal, runner: Runner, tasks: TaskGroup, idle: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.journal, self._runner, self._tasks, self._idle = journal, runner, tasks, idle
        self._clock = clock
        self._jobs: dict[str, _Job] = {}
        self._notifier = Notifier()
        self._changed = Event()
        self._suspended = False

    @property
    def busy(self) -> bool:
        """A schedule is armed, or a run is not finished."""
        return self._armed or any(job.progress.current is not None for job in self._jobs.values())

    def load(self) -> None:
        """Read what an earlier scheduler left. Called once, first; then `adopt`, then `run`."""
        for name in self.journal.names():
            job = self._jobs[name] = _Job(name, self.journal.definition(name), self.journal.progress(name))
            if job.definition is not None:
                decided = {**timing.armed(job.definition.job.schedules, self._clock()), **job.progress.decided}
                if decided != job.progress.decided:  # killed between a registration's two files
                    self._save(job, decided=decided)

    async def adopt(self) -> None:
        """Carry on the runs that an earlier scheduler began. Ends that nobody saw have been told to `ended`."""
        for job in list(self._jobs.values()):
            if (run := job.progress.current) is not None and not job.launched:
                await self._recover(job, run)
        await self._hold()

    async def _hold(self) -> None:
        await self._runner.hold(self._armed)

    @property
    def _armed(self) -> bool:
        return not self._suspended and any(job.armed for job in self._jobs.values())

    async def _recover(self, job: _Job, run: Run) -> None:
        record = self._runner.container(run)
        if record is not None and record.state.status.alive:
            self._began(job, run, record)
        elif record is not None and record.state.started_at:
            await self.ended(record)
        elif run.container:
            await self._finish(job, run, RunState.FAILED, error=REMOVED)
        else:
            if record is not None:
                await self._runner.remove(record.id)
            if run.trigger == MANUAL or job.definition is None:
                await self._finish(job, run, RunState.FAILED, error=NOT_BEGUN)
            else:
                self._launch(job, run)

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Start what is due, for ever."""
        begun = True
        while True:
            self._changed = Event()
            now, following = self._clock(), 0.0
            for job in list(self._jobs.values()):
                if job.armed and not self._suspended:
                    after = self._look(job, now, begun=begun)
                    following = min(following or after, after or following)
            begun = False
            with move_on_after(min(SLICE, max(0.0, following - now)) if following else None):
                await self._changed.wait()

    def _look(self, job: _Job, now: float, *, begun: bool) -> float:
        """Decide upon what is due; the time of the next fire, 0 for none."""
        assert job.definition is not None
        found = timing.due(job.definition.job.schedules, job.progress.decided, now, begun=begun)
        try:
            if found.planned:
                self._fire(job, found)
            elif found.decided != job.progress.decided:
                self._save(job, decided=found.decided)
        except EngineError as error:  # a full disc, perhaps: it stays due
            print(f"job {job.name}: {error}", file=sys.stderr, flush=True)
            return now + SLICE
        return found.following

    def _fire(self, job: _Job, found: timing.Due) -> None:
        progress = job.progress
        if progress.current is None:
            self._begin(job, self._new(job, SCHEDULE, planned=found.planned), decided=found.decided)
        elif found.queue and not progress.waiting:
            self._save(job, decided=found.decided, waiting=found.planned)
        else:
            self._save(job, decided=found.decided, dropped=progress.dropped + 1)

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _new(self, job: _Job, trigger: str, *, planned: float = 0.0, run_id: str = "") -> Run:
        return Run(
            id=run_id or secrets.token_hex(16),
            iteration=job.progress.iteration + 1,
            trigger=trigger,
            planned=planned,
            created=self._clock(),
        )

    def _begin(self, job: _Job, run: Run, **fields: object) -> None:
        """Write a run down, and start it."""
        self._add(job, run, **fields)
        self._launch(job, run)

    def _add(self, job: _Job, run: Run, **fields: object) -> None:
        runs, kept = job.progress.runs, job.definition.job.history if job.definition else 0
        gone, left = runs[: len(runs) - kept], runs[max(0, len(runs) - kept) :]
        self._save(job, runs=(*left, run), iteration=run.iteration, **fields)
        for old in gone:
            self.journal.drop_log(job.name, old)
            self._tasks.start_soon(self._remove_container, old)

    async def _remove_container(self, run: Run) -> None:
        if record := self._runner.container(run):
            await self._runner.remove(record.id)

    def _launch(self, job: _Job, run: Run) -> None:
        job.launched = True
        self._tasks.start_soon(self._carry_out, job, run)

    async def _carry_out(self, job: _Job, run: Run) -> None:
        """Start the run's program, after the pause before a retry."""
        assert job.definition is not None
        job.scope = scope = CancelScope()
        error = container_id = ""
        with scope:
            try:
                await sleep(max(0.0, run.due - self._clock()) if run.due else 0.0)
                container_id = await self._runner.start(job.definition, run, scope)
            except EngineError as failure:
                error = str(failure)
        job.scope, job.launched = None, False
        if scope.cancelled_caught and not container_id:
            await self.abandoned(job.name, run.id)
        elif error:
            await self._attempted(job, run, RunState.FAILED, error=error)
        elif record := self._runner.container(run):
            self._began(job, run, record)

    async def abandoned(self, name: str, run_id: str) -> None:
        """The start of a run was given up."""
        job, run = self._find(name, run_id)
        if job is None or run is None:
            return
        record = self._runner.container(run)
        if record is not None and record.state.status.alive:
            await self._runner.stop(record.id)
        elif not run.state.final:
            await self._finish(job, run, job.ending or RunState.CANCELLED)
        elif record is not None:
            await self._runner.remove(record.id)

    def _began(self, job: _Job, run: Run, record: ContainerRecord) -> None:
        """The run's program is running (it may have ended since, and that be written down)."""
        now = job.progress.run(run.id)
        if now is None or now.state is not RunState.PENDING or now.attempt != run.attempt:
            if now is not None and now.state is RunState.RUNNING:
                self._limit(job, now, record)
            return
        run = structs.replace(
            now, state=RunState.RUNNING, started=now.started or record.state.started_at, container=record.id
        )
        self._replace(job, run)
        self._limit(job, run, record)

    def _limit(self, job: _Job, run: Run, record: ContainerRecord) -> None:
        if job.definition is not None and job.definition.job.timeout:
            left = record.state.started_at + job.definition.job.timeout - self._clock()
            self._tasks.start_soon(self._time_out, job, run, record.id, min(left, job.definition.job.timeout))

    async def _time_out(self, job: _Job, run: Run, container_id: str, left: float) -> None:
        await sleep(max(0.0, left))
        now = job.progress.run(run.id)
        if now is not None and now.state is RunState.RUNNING and now.container == container_id:
            job.ending = job.ending or RunState.TIMED_OUT
            try:
                await self._runner.stop(container_id)
            except EngineError as error:
                print(f"job {job.name}: {error}", file=sys.stderr, flush=True)

    async def ended(self, record: ContainerRecord) -> None:
        """The container of a run has ended."""
        job, run = self._of(record)
        if job is None or run is None:
            return
        current = self._runner.container(run)
        if run.state.final or current is None or current.id != record.id:
            if run.container_gone:  # killed between the end's record and the removal
                await self._runner.remove(record.id)
            return
        state = record.state
        how = RunState.SUCCEEDED if state.exit_code == 0 else RunState.FAILED
        error = ""
        if job.ending is not None:
            how = job.ending
        elif state.stopped_by_user:
            how = RunState.CANCELLED
        elif self._runner.rebooted(record):
            how, error = RunState.FAILED, REBOOTED
        run = structs.replace(run, container=record.id, started=run.started or state.started_at)
        cut = self.journal.keep_log(job.name, run, self._runner.log(record.id))
        run = structs.replace(run, cut=run.cut + cut)
        await self._attempted(job, run, how, code=state.exit_code, error=error, at=state.finished_at)

    async def _attempted(
        self, job: _Job, run: Run, how: RunState, *, code: int | None = None, error: str = "", at: float = 0.0
    ) -> None:
        """An attempt is over: there is another one, or this is the end of the run."""
        limits = job.definition.job if job.definition is not None else None
        failed = how in (RunState.FAILED, RunState.TIMED_OUT)
        if not failed or limits is None or run.attempt > limits.retries or job.progress.stopped:
            await self._finish(job, run, how, code=code, error=error, at=at)
            return
        job.ending = None
        last = self._runner.container(run)
        pause = limits.retry_delay * 2 ** min(run.attempt - 1, 20)
        again = structs.replace(
            run, state=RunState.PENDING, attempt=run.attempt + 1, due=self._clock() + pause, container="",
            exit_code=code, error=error,
        )  # fmt: skip
        self._replace(job, again)
        if last is not None:
            await self._runner.remove(last.id)
        self._launch(job, again)

    async def _finish(
        self, job: _Job, run: Run, how: RunState, *, code: int | None = None, error: str = "", at: float = 0.0
    ) -> None:
        """The end of a run. Its container stays when it failed, until the run is forgotten."""
        record = self._runner.container(run)
        gone = record is None or how in (RunState.SUCCEEDED, RunState.CANCELLED)
        run = structs.replace(
            run, state=how, finished=at or self._clock(), exit_code=code, error=error, due=0.0, container_gone=gone
        )
        self._replace(job, run)
        job.ending = None
        if gone and record is not None:
            await self._runner.remove(record.id)
        self._notifier.tell(run.id)
        if job.progress.waiting and job.definition is not None:
            self._begin(job, self._new(job, SCHEDULE, planned=job.progress.waiting), waiting=0.0)
        self._idle()

    async def finished(self, name: str, run_id: str) -> Run:
        """Wait for the end of a run. WrongState when there is no such run."""

        def look() -> Run | None:
            _, run = self._find(name, run_id)
            if run is None:
                raise NotFound("run", run_id[:12])
            return run if run.state.final else None

        return await self._notifier.until(run_id, look)

    async def _end(self, job: _Job, how: RunState) -> None:
        """End the run that is not finished, and wait until its program has ended."""
        run = job.progress.current
        if run is None:
            return
        job.ending = how
        record = self._runner.container(run)
        if record is not None and record.state.status.alive:
            await self._runner.stop(record.id)
            await self.finished(job.name, run.id)
            return
        # Written down at once: whoever is still starting it may wait for a turn that we have.
        await self._finish(job, run, how)
        if job.scope is not None:
            job.scope.cancel()

    # ── what commands ask for ────────────────────────────────────────────────────────────────────────────────────

    def _definition(self, name: str) -> Definition | None:
        job = self._jobs.get(name)
        return job.definition if job is not None else None

    def registered(self, name: str) -> bool:
        return self._definition(name) is not None

    async def register(self, definition: Definition) -> None:
        """Put a job in the place of the one with its name; the progress of schedules that stay the same goes on."""
        self.journal.register(definition)
        job = self._jobs.get(definition.name)
        if job is None:
            job = self._jobs[definition.name] = _Job(definition.name, None, Progress())
        known = job.definition is not None and not job.progress.stopped
        old = job.progress.decided if known else {}
        job.definition = definition
        fresh = timing.armed(definition.job.schedules, self._clock())
        self._save(job, decided={key: old.get(key, now) for key, now in fresh.items()}, stopped=False, waiting=0.0)
        await self._hold()
        self._changed.set()

    async def remove(self, name: str, *, history: bool = False) -> None:
        """Stop a job for good. Its runs are remembered, unless the `history` goes, too."""
        job = self._jobs.get(name)
        if job is None:
            return
        self._save(job, stopped=True, waiting=0.0)
        await self._end(job, RunState.CANCELLED)
        self.journal.unregister(name)
        job.definition = None
        for run in job.progress.runs:
            await self._remove_container(run)
        if history:
            del self._jobs[name]
            self.journal.forget(name)
        await self._hold()
        self._idle()

    async def stop(self, name: str) -> None:
        """Stop its schedules, and end its run."""
        job = self._need(name)
        self._save(job, stopped=True, waiting=0.0)
        await self._end(job, RunState.CANCELLED)
        await self._hold()
        self._idle()

    async def suspend(self) -> None:
        """As a machine that goes down: nothing fires any more, and the next supervisor makes up for what was missed."""
        self._suspended = True
        await self._hold()
        self._idle()

    async def start(self, name: str) -> None:
        """Let stopped schedules go on; what they have missed is not made up for."""
        await self._resume(self._need(name), stopped=False)

    async def pause(self, name: str) -> None:
        """Let its schedules fire no more, for now. A run goes on."""
        self._save(self._need(name), paused=True, waiting=0.0)
        await self._hold()
        self._idle()

    async def resume(self, name: str) -> None:
        await self._resume(self._need(name), paused=False)

    async def _resume(self, job: _Job, **fields: bool) -> None:
        assert job.definition is not None
        self._save(job, decided=timing.armed(job.definition.job.schedules, self._clock()), **fields)
        await self._hold()
        self._changed.set()

    async def cancel(self, name: str) -> str:
        """End the run that is not finished; its id, "" when there is none."""
        job = self._need(name)
        run = job.progress.current
        if run is None:
            return ""
        await self._end(job, RunState.CANCELLED)
        return run.id

    def begin(self, name: str, trigger: str = MANUAL) -> Run:
        """Start a registered job now. WrongState while it runs."""
        job = self._need(name)
        self._check_idle(job)
        run = self._new(job, trigger)
        self._begin(job, run)
        return run

    async def accept(self, definition: Definition, run_id: str, scope: CancelScope) -> Run:
        """Write down a run that a command starts by itself, as far as `began` or `failed`; `scope` ends that.

        The job is registered if it was not; a schedule that has changed is `up`'s to replace. A command that asks again, as its
        supervisor was killed, gets the same run.
        """
        known = self._definition(definition.name)
        if known is None or (known.digest != definition.digest and not known.job.scheduled):
            await self.register(definition)
        job = self._jobs[definition.name]
        run = job.progress.run(run_id)
        if run is None:
            self._check_idle(job)
            run = self._new(job, MANUAL, run_id=run_id)
            self._add(job, run)
        elif run.error == NOT_BEGUN:
            run = structs.replace(run, state=RunState.PENDING, error="", finished=0.0)
            self._replace(job, run)
        job.scope = scope
        return run

    def container_of(self, run: Run) -> str:
        """The id of the container in which the run's program was started; "" when it was not."""
        record = self._runner.container(run)
        return record.id if record is not None and record.state.started_at else ""

    def began(self, name: str, run_id: str) -> None:
        """The program of a run that was accepted is running."""
        job, run = self._find(name, run_id)
        if job is not None and run is not None:
            job.scope = None
            if record := self._runner.container(run):
                self._began(job, run, record)

    async def failed(self, name: str, run_id: str, error: str, code: int) -> None:
        """A run that was accepted could not be started."""
        job, run = self._find(name, run_id)
        if job is not None and run is not None and not run.state.final:
            job.scope = None
            await self._finish(job, run, RunState.FAILED, error=error, code=code)

    async def depend(self, definition: Definition) -> Run:
        """Run a job that something depends on, to its end. A run that is there already is not the one that is asked for."""
        known = self._definition(definition.name)
        if known is None or known.digest != definition.digest:
            await self.register(definition)
        job = self._jobs[definition.name]
        while (run := job.progress.current) is not None:
            await self.finished(job.name, run.id)
        run = self._new(job, DEPENDENCY)
        self._begin(job, run)
        try:
            return await self.finished(job.name, run.id)
        except get_cancelled_exc_class():
            with CancelScope(shield=True):
                await self.cancel(job.name)
            raise

    def _check_idle(self, job: _Job) -> None:
        if job.progress.current is not None:
            raise WrongState(f"job {self.journal.project}.{job.name} is already running")

    def observed(self) -> dict[str, ObservedJob]:
        """The jobs, for a plan."""
        return {name: observed(job.definition, job.progress) for name, job in self._jobs.items()}

    # ── the journal ──────────────────────────────────────────────────────────────────────────────────────────────

    def _need(self, name: str) -> _Job:
        job = self._jobs.get(name)
        if job is None or job.definition is None:
            raise NotFound("job", f"{self.journal.project}.{name}")
        return job

    def _find(self, name: str, run_id: str) -> tuple[_Job | None, Run | None]:
        job = self._jobs.get(name)
        return job, job.progress.run(run_id) if job is not None else None

    def _of(self, record: ContainerRecord) -> tuple[_Job | None, Run | None]:
        run_id = record.spec.labels.get(JOB_RUN, "")
        for job in self._jobs.values():
            if run := job.progress.run(run_id):
                return job, run
        return None, None

    def _replace(self, job: _Job, run: Run) -> None:
        self._save(job, runs=tuple(run if one.id == run.id else one for one in job.progress.runs))

    def _save(self, job: _Job, **fields: object) -> None:
        """On the disc first, then here: an error changes nothing."""
        progress = structs.replace(job.progress, **fields)
        self.journal.save(job.name, progress)
        job.progress = progress
