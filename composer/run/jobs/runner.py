"""Carries out a run in the supervisor: like `composer run -d`, with a container labelled with the run's id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from anyio import CancelScope
from msgspec import structs

from composer.plan import labels
from composer.plan.options import Options
from composer.run.jobs.records import Definition, Run
from composer.run.monitor import Monitor
from composer.run.protocol import End, OneOff, Request
from engine.errors import EngineError, NotFound, OperationFailed
from engine.spec.container import ContainerSpec, Restart
from engine.spec.state import ContainerRecord
from engine.spec.stream import LogEntry

if TYPE_CHECKING:
    from composer.run.handles import LogReader
    from composer.run.port import Changes


class JobRunner:
    """`perform` performs a request when its turn comes, until the scope is cancelled; `logs` opens a container's
    log."""

    def __init__(
        self,
        project: str,
        changes: Changes,
        monitor: Monitor,
        perform: Callable[[Request, CancelScope], Awaitable[End]],
        logs: Callable[[str], LogReader],
        boot_id: str,
    ) -> None:
        self._project, self._changes, self._monitor = project, changes, monitor
        self._perform, self._logs, self._boot_id = perform, logs, boot_id

    async def start(self, definition: Definition, run: Run, scope: CancelScope) -> str:
        service = definition.desired.services[definition.name]
        template = structs.replace(service.container, image_ref=service.image)
        spec = with_job_labels(template, self._project, definition.name, run)
        request = Request(
            options=Options(action="run", services=(definition.name,), no_recreate=True, ignore_orphans=True),
            desired=definition.desired,
            oneoff=OneOff(service=definition.name, spec=spec, attach=False),
        )
        end = await self._perform(request, scope)
        if end.failures:
            text = "\n".join(dict.fromkeys(failure.message for failure in end.failures))
            raise EngineError(text)
        return end.container_id

    def container(self, run: Run) -> ContainerRecord | None:
        found = [r for r in self._changes.containers() if r.spec.labels.get(labels.JOB_RUN) == run.id]
        return next((record for record in reversed(found) if record.spec.name.endswith(suffix(run))), None)

    async def stop(self, container_id: str) -> None:
        await self._monitor.suppress_restart(container_id)
        await self._changes.stop(container_id)
        self._monitor.forget(container_id)

    async def remove(self, container_id: str) -> None:
        try:
            await self._changes.remove(container_id, force=True, volumes=True)
        except NotFound:
            pass  # a command has removed it
        self._monitor.forget(container_id)

    def log(self, container_id: str) -> Sequence[LogEntry]:
        """The container's output; empty if its log driver stores no log."""
        try:
            reader = self._logs(container_id)
        except EngineError:
            return ()
        entries: list[LogEntry] = []
        try:
            while found := reader.read():
                entries += found
        except OperationFailed:
            pass  # keep the entries read so far
        finally:
            reader.close()
        return entries

    def rebooted(self, record: ContainerRecord) -> bool:
        return record.state.boot_id != self._boot_id

    async def hold(self, wanted: bool) -> None:
        await self._changes.hold(wanted)


def suffix(run: Run) -> str:
    """The suffix of the container name of an attempt."""
    attempt = f"-{run.attempt}" if run.attempt > 1 else ""
    return f"-{run.iteration}-{run.id[:12]}{attempt}"


def with_job_labels(spec: ContainerSpec, project: str, name: str, run: Run) -> ContainerSpec:
    """The specification of a run's container, with the name and labels that Docker Engine uses."""
    own = {labels.ONEOFF: "False", labels.JOB_ID: f"{project}.{name}", labels.JOB_RUN: run.id}
    return structs.replace(spec, name=f"job-{name}{suffix(run)}", labels={**spec.labels, **own}, restart=Restart())
