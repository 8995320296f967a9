"""Runs of jobs: pending → running → a final state, with retries and time limits.

Every step is in the journal before it is carried out. So after a crash at any point, `recover` finds a run in a known state,
and continues it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from anyio import CancelScope, sleep
from anyio.abc import TaskGroup
from msgspec import structs

from composer.run.jobs.records import MANUAL, SCHEDULE, Definition, Run, RunState
from composer.run.jobs.table import Job, Jobs
from composer.run.notifier import Notifier
from engine.errors import EngineError, NotFound
from engine.spec.state import ContainerRecord
from engine.spec.stream import LogEntry

NOT_BEGUN = "the supervisor was restarted before its program began"
REMOVED = "its container was removed"
REBOOTED = "the machine was restarted while it ran"


class Runner(Protocol):
    """Carries out runs: JobRunner in the supervisor, a fake in tests."""

    async def start(self, definition: Definition, run: Run, scope: CancelScope) -> str:
        """Start the job's dependencies, then its container. Returns the container's id. `scope` cancels it. Raises
        EngineError."""
        ...

    def container(self, run: Run) -> ContainerRecord | None:
        """The container of the run's latest attempt, if it still exists."""
        ...

    async def stop(self, container_id: str) -> None: ...

    async def remove(self, container_id: str) -> None: ...

    def log(self, container_id: str) -> Sequence[LogEntry]: ...

    async def hold(self, wanted: bool) -> None:
        """Whether the keeper restarts a killed supervisor even if no container runs."""
        ...

    def rebooted(self, record: ContainerRecord) -> bool:
        """Whether the container was running when the machine was restarted."""
        ...


class Runs:
    """The runs of a project's jobs. `idle` is called when a run ends. `clock` returns seconds since the epoch."""

    def __init__(
        self, jobs: Jobs, runner: Runner, tasks: TaskGroup, idle: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._jobs, self._runner, self._tasks, self._idle, self._clock = jobs, runner, tasks, idle, clock
        self._notifier = Notifier()

    async def recover(self, job: Job, run: Run) -> None:
        """Continue a run of an earlier supervisor, from the state of its container."""
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

    def new(self, job: Job, trigger: str, *, planned: float = 0.0, run_id: str = "") -> Run:
        """A new pending run, not yet recorded."""
        return Run(
            id=run_id or os.urandom(16).hex(),
            iteration=job.progress.iteration + 1,
            trigger=trigger,
            planned=planned,
            created=self._clock(),
        )

    def begin(self, job: Job, run: Run, **fields: object) -> None:
        """Record a run, and start it."""
        self.add(job, run, **fields)
        self._launch(job, run)

    def add(self, job: Job, run: Run, **fields: object) -> None:
        """Record a run, with other changed `fields` of the progress, and drop the oldest ones beyond the job's `history`."""
        runs, kept = job.progress.runs, job.definition.job.history if job.definition else 0
        removed, left = runs[: len(runs) - kept], runs[max(0, len(runs) - kept) :]
        self._jobs.save(job, runs=(*left, run), iteration=run.iteration, **fields)
        for old in removed:
            self._jobs.journal.drop_log(job.name, old)
            self._tasks.start_soon(self.remove_container, old)

    async def remove_container(self, run: Run) -> None:
        if record := self._runner.container(run):
            await self._runner.remove(record.id)

    def _launch(self, job: Job, run: Run) -> None:
        job.launched = True
        self._tasks.start_soon(self._carry_out, job, run)

    async def _carry_out(self, job: Job, run: Run) -> None:
        """Start the run's program, before a retry after a pause."""
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
        """The start of a run was cancelled."""
        job, run = self._jobs.find(name, run_id)
        if job is None or run is None:
            return
        record = self._runner.container(run)
        if record is not None and record.state.status.alive:
            await self._runner.stop(record.id)
        elif not run.state.final:
            await self._finish(job, run, job.ending or RunState.CANCELLED)
        elif record is not None:
            await self._runner.remove(record.id)

    def _began(self, job: Job, run: Run, record: ContainerRecord) -> None:
        """The run's program has started. It may already have ended, and the end may be recorded."""
        now = job.progress.run(run.id)
        if now is None or now.state is not RunState.PENDING or now.attempt != run.attempt:
            if now is not None and now.state is RunState.RUNNING:
                self._limit(job, now, record)
            return
        run = structs.replace(
            now, state=RunState.RUNNING, started=now.started or record.state.started_at, container=record.id
        )
        self._jobs.replace(job, run)
        self._limit(job, run, record)

    def _limit(self, job: Job, run: Run, record: ContainerRecord) -> None:
        if job.definition is not None and job.definition.job.timeout:
            left = record.state.started_at + job.definition.job.timeout - self._clock()
            self._tasks.start_soon(self._time_out, job, run, record.id, min(left, job.definition.job.timeout))

    async def _time_out(self, job: Job, run: Run, container_id: str, left: float) -> None:
        await sleep(max(0.0, left))
        now = job.progress.run(run.id)
        if now is not None and now.state is RunState.RUNNING and now.container == container_id:
            job.ending = job.ending or RunState.TIMED_OUT
            try:
                await self._runner.stop(container_id)
            except EngineError as error:
                print(f"job {job.name}: {error}", file=sys.stderr, flush=True)

    async def ended(self, record: ContainerRecord) -> None:
        """The container of a run has exited."""
        job, run = self._jobs.of_container(record)
        if job is None or run is None:
            return
        current = self._runner.container(run)
        if run.state.final or current is None or current.id != record.id:
            if run.container_gone:  # the supervisor was killed between recording the end and the removal
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
        cut = self._jobs.journal.keep_log(job.name, run, self._runner.log(record.id))
        run = structs.replace(run, cut=run.cut + cut)
        await self._attempted(job, run, how, code=state.exit_code, error=error, at=state.finished_at)

    async def _attempted(
        self, job: Job, run: Run, how: RunState, *, code: int | None = None, error: str = "", at: float = 0.0
    ) -> None:
        """An attempt is over: retry, or finish the run."""
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
        self._jobs.replace(job, again)
        if last is not None:
            await self._runner.remove(last.id)
        self._launch(job, again)

    async def _finish(
        self, job: Job, run: Run, how: RunState, *, code: int | None = None, error: str = "", at: float = 0.0
    ) -> None:
        """Record the end of a run. The container of a failed run is kept as long as its record."""
        record = self._runner.container(run)
        removed = record is None or how in (RunState.SUCCEEDED, RunState.CANCELLED)
        run = structs.replace(
            run, state=how, finished=at or self._clock(), exit_code=code, error=error, due=0.0, container_gone=removed
        )
        self._jobs.replace(job, run)
        job.ending = None
        if removed and record is not None:
            await self._runner.remove(record.id)
        self._notifier.notify(run.id)
        if job.progress.waiting and job.definition is not None:
            self.begin(job, self.new(job, SCHEDULE, planned=job.progress.waiting), waiting=0.0)
        self._idle()

    async def finished(self, name: str, run_id: str) -> Run:
        """Wait until a run ends. Raises NotFound if the run does not exist."""

        def look() -> Run | None:
            _, run = self._jobs.find(name, run_id)
            if run is None:
                raise NotFound("run", run_id[:12])
            return run if run.state.final else None

        return await self._notifier.until(run_id, look)

    async def end(self, job: Job, how: RunState) -> None:
        """End the unfinished run, if any, and wait until its program has exited."""
        run = job.progress.current
        if run is None:
            return
        job.ending = how
        record = self._runner.container(run)
        if record is not None and record.state.status.alive:
            await self._runner.stop(record.id)
            await self.finished(job.name, run.id)
            return
        # Record it at once, because the code that starts it may be waiting for the turn that we have.
        await self._finish(job, run, how)
        if job.scope is not None:
            job.scope.cancel()

    def container_of(self, run: Run) -> str:
        """The id of the container in which the run's program has started; "" if it has not."""
        record = self._runner.container(run)
        return record.id if record is not None and record.state.started_at else ""

    def began(self, name: str, run_id: str) -> None:
        """The program of an accepted run has started."""
        job, run = self._jobs.find(name, run_id)
        if job is not None and run is not None:
            job.scope = None
            if record := self._runner.container(run):
                self._began(job, run, record)

    async def failed(self, name: str, run_id: str, error: str, code: int) -> None:
        """An accepted run could not be started."""
        job, run = self._jobs.find(name, run_id)
        if job is not None and run is not None and not run.state.final:
            job.scope = None
            await self._finish(job, run, RunState.FAILED, error=error, code=code)
