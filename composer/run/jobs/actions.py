"""The actions of `composer job` in the supervisor."""

from __future__ import annotations

from composer.plan import jobs
from composer.plan.desired import Desired
from composer.run.jobs.records import Definition
from composer.run.jobs.scheduler import Scheduler
from composer.run.protocol import End, JobAction


async def act(scheduler: Scheduler, action: JobAction, desired: Desired | None) -> End:
    """Perform an action. Raises EngineError. The action wait returns the run's exit code."""
    name = action.name
    match action.verb:
        case "run":
            if desired is not None and not scheduler.registered(name):
                await scheduler.register(definition_of(desired, name))
            return End(run=scheduler.begin(name).id)
        case "wait":
            run = await scheduler.runs.finished(name, action.run)
            return End(run=run.id, exit_code=run.command_code)
        case "cancel":
            return End(run=await scheduler.cancel(name))
        case "pause":
            await scheduler.pause(name)
        case "resume":
            await scheduler.resume(name)
        case "suspend":
            await scheduler.suspend()
        case "rm":
            await scheduler.remove(name, history=action.history)
    return End()


def definition_of(desired: Desired, name: str) -> Definition:
    """The definition under which a job of the project is registered."""
    return Definition(
        name=name, digest=jobs.digest(desired, name), job=desired.jobs[name], desired=jobs.part_for(desired, name)
    )
