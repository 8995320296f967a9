"""Operations of a plan on jobs: registering jobs, and running those that a service depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.plan.operations import RegisterJob, RunJob
from composer.run.jobs.records import Definition, RunState
from engine.errors import EngineError

if TYPE_CHECKING:
    from composer.run.jobs.scheduler import Scheduler

LINES = 10
"""Lines from the end of a failed run's output that its error shows."""


class JobFailed(EngineError):
    """A run did not succeed."""


def definition_of(operation: RegisterJob | RunJob) -> Definition:
    return Definition(name=operation.name, digest=operation.digest, job=operation.job, desired=operation.desired)


async def run(scheduler: Scheduler, operation: RunJob) -> None:
    """Run the job to completion. Raises JobFailed."""
    ended = await scheduler.depend(definition_of(operation))
    if ended.state is RunState.SUCCEEDED:
        return
    why = ended.error or (f"exit {ended.exit_code}" if ended.state is RunState.FAILED else ended.state.value)
    lines = "".join(entry.text for entry in scheduler.journal.log(operation.name, ended)).splitlines()[-LINES:]
    text = f'job "{operation.name}" didn\'t complete successfully: {why}'
    raise JobFailed("\n".join([text, *(f"  {line}" for line in lines)]))
