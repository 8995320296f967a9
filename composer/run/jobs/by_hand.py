"""`composer run JOB`: the command attaches to the container, the scheduler keeps the record of the run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from anyio import CancelScope, get_cancelled_exc_class
from msgspec import structs

from composer.run.jobs.actions import definition_of
from composer.run.jobs.runner import with_job_labels
from composer.run.protocol import End, OneOff, Request
from composer.run.turns import Turn

if TYPE_CHECKING:
    from composer.run.jobs.scheduler import Scheduler


async def run(scheduler: Scheduler, request: Request, turn: Turn, perform: Callable[[OneOff], Awaitable[End]]) -> End:
    """`perform` the request as a run of its job. Raises WrongState while another run is unfinished."""
    assert request.oneoff is not None and request.desired is not None
    wanted, name = request.oneoff, request.oneoff.service
    record = await scheduler.accept(definition_of(request.desired, name), wanted.run, turn.work)
    if started := scheduler.runs.container_of(
        record
    ):  # the command repeats its request because its supervisor was killed
        return End(container_id=started, run=record.id)
    spec = with_job_labels(wanted.spec, request.desired.project, name, record)
    try:
        end = await perform(structs.replace(wanted, spec=spec))
    except get_cancelled_exc_class():
        with CancelScope(shield=True):
            await scheduler.runs.abandoned(name, record.id)
        raise
    if end.failures:
        first = end.failures[0]
        await scheduler.runs.failed(name, record.id, first.message, first.exit_code)
        text = f'job "{name}" run {record.id[:12]} failed: {first.message}'
        return structs.replace(end, failures=(structs.replace(first, message=text), *end.failures[1:]))
    scheduler.runs.began(name, record.id)
    return structs.replace(end, run=record.id)
