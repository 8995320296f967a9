"""Monitors running containers: health checks and restarts."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
from anyio import CancelScope, sleep
from anyio.abc import TaskGroup

from composer.plan.labels import AUTOREMOVE, JOB_RUN
from composer.run import health, restart
from composer.run.notifier import Notifier
from engine.errors import EngineError
from engine.spec.image import ImageRecord
from engine.spec.state import ContainerRecord, Health, Probe, Status

if TYPE_CHECKING:
    from composer.run.port import Changes

REMEMBERED = 256
"""The number of self-removed containers whose exit codes are remembered."""


class Monitor:
    """`image` finds an image by its id. `idle` is called whenever no container runs or waits for a restart."""

    def __init__(
        self,
        changes: Changes,
        image: Callable[[str], ImageRecord | None],
        notifier: Notifier,
        tasks: TaskGroup,
        idle: Callable[[], None],
        *,
        boot_id: str = "",
        job_ended: Callable[[ContainerRecord], Awaitable[None]] | None = None,
    ) -> None:
        """`job_ended` is called with the container of a job's run that has ended."""
        self._boot_id, self._job_ended = boot_id, job_ended
        self._changes, self._image, self._notifier, self._tasks, self._idle = changes, image, notifier, tasks, idle
        self._living: set[str] = set()
        self._probing: dict[str, CancelScope] = {}
        self._restarting: dict[str, CancelScope] = {}
        self._backoffs: dict[str, restart.Backoff] = {}
        self.exit_codes: dict[str, int] = {}
        """Exit codes of the latest containers that removed themselves."""

    @property
    def busy(self) -> bool:
        """Whether a container runs or waits for a restart."""
        return bool(self._living or self._restarting)

    async def adopt(self, records: list[ContainerRecord]) -> None:
        """Continue what an earlier supervisor monitored."""
        for record in records:
            if record.state.returns:
                await self._update(record.id, returns=False)
                record = self._changes.record(record.id)
            if record.state.status.alive:
                if record.state.stopped_by_user:  # an interrupted stop
                    await self._update(record.id, stopped_by_user=False)
                self.started(record.id)
            elif record.state.status in (Status.EXITED, Status.RESTARTING):
                await self._settle_end(record)

    def started(self, container_id: str) -> None:
        """The container was started; it may have exited since."""
        record = self._changes.record(container_id)
        if not record.state.status.alive:
            return
        self._living.add(container_id)
        self._notifier.notify(container_id)
        if container_id not in self._probing and (check := self.check(record)):
            self._probing[container_id] = scope = CancelScope()
            self._tasks.start_soon(_apart, self._watch_health, record, check, scope)

    def check(self, record: ContainerRecord) -> health.Check | None:
        """The container's healthcheck."""
        image = self._image(record.spec.image)
        return health.check_of(record.spec.healthcheck, image.config.healthcheck if image else None)

    async def suppress_restart(self, container_id: str, *, returns: bool = False) -> None:
        """The user stops the container: no policy restarts it, now or after its exit. With `returns`, the plan starts it
        again."""
        if scope := self._restarting.pop(container_id, None):
            scope.cancel()
        record = self._changes.record(container_id)
        status = Status.EXITED if record.state.status is Status.RESTARTING else record.state.status
        if record.state.status.up:
            alive = record.state.status.alive
            await self._update(container_id, stopped_by_user=True, stopping=alive, status=status, returns=returns)
            self._notifier.notify(container_id)

    async def stays_down(self, container_id: str) -> None:
        """A planned restart of the container did not happen."""
        if self._changes.record(container_id).state.returns:
            await self._update(container_id, returns=False)
            self._notifier.notify(container_id)

    async def reset_backoff(self, container_id: str) -> None:
        """The user starts the container: reset its restart count."""
        if scope := self._restarting.pop(container_id, None):
            scope.cancel()
        self._backoffs.pop(container_id, None)
        if self._changes.record(container_id).state.restart_count:
            await self._update(container_id, restart_count=0)

    def forget(self, container_id: str) -> None:
        """The container was stopped or removed on purpose."""
        self._living.discard(container_id)
        self._backoffs.pop(container_id, None)
        self._stop_probing(container_id)
        self._notifier.notify(container_id)

    async def ended(self, container_id: str) -> None:
        """The container's process has exited."""
        self._living.discard(container_id)
        self._stop_probing(container_id)
        try:
            record = self._changes.record(container_id)
        except EngineError:
            record = None
        if record is not None and not record.state.status.alive:
            await self._settle_end(record)
        self._notifier.notify(container_id)
        if not self.busy:
            self._idle()

    async def _settle_end(self, record: ContainerRecord) -> None:
        if self._job_ended is not None and JOB_RUN in record.spec.labels:
            with CancelScope(shield=True):
                await self._job_ended(record)
        elif record.spec.labels.get(AUTOREMOVE):
            self.exit_codes[record.id] = record.state.exit_code
            for forgotten in list(self.exit_codes)[:-REMEMBERED]:
                del self.exit_codes[forgotten]
            with CancelScope(shield=True):
                await self._changes.remove(record.id, force=True, volumes=True)
        else:
            await self._after_end(record)

    # ── health ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _stop_probing(self, container_id: str) -> None:
        if scope := self._probing.pop(container_id, None):
            scope.cancel()

    async def _watch_health(self, record: ContainerRecord, check: health.Check, scope: CancelScope) -> None:
        async def probe() -> Probe | None:
            if self._changes.record(record.id).state.status is not Status.RUNNING:
                return None
            return await self._changes.probe(record.id, check.test, timeout=check.timeout)

        async def report(found: Health) -> None:
            if self._changes.record(record.id).state.status.alive:
                await self._changes.set_health(record.id, found)
                self._notifier.notify(record.id)

        now = record.state.health or Health(status=health.STARTING)
        with scope, contextlib.suppress(EngineError):  # the container was removed concurrently
            await health.watch(check, record.state.started_at, now, probe=probe, report=report)
        if self._probing.get(record.id) is scope:
            del self._probing[record.id]

    # ── restarts ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _after_end(self, record: ContainerRecord) -> None:
        # After a reboot `autostart run` and `up` start containers in the right order.
        earlier = self._boot_id and record.state.boot_id != self._boot_id
        if record.id in self._restarting or earlier or not restart.wanted(record.spec.restart, record.state):
            if record.state.status is Status.RESTARTING and record.id not in self._restarting:
                await self._update(record.id, status=Status.EXITED)
            return
        backoff = self._backoffs.setdefault(record.id, restart.Backoff())
        ran = max(0.0, record.state.finished_at - record.state.started_at)
        await self._update(record.id, status=Status.RESTARTING)
        self._restarting[record.id] = scope = CancelScope()
        self._tasks.start_soon(_apart, self._restart, record.id, backoff.pause(ran), scope)

    async def _restart(self, container_id: str, pause: float, scope: CancelScope) -> None:
        with scope:
            await sleep(pause)
            with CancelScope(shield=True):
                await self._start_again(container_id, scope)

    async def _start_again(self, container_id: str, scope: CancelScope) -> None:
        try:
            count = self._changes.record(container_id).state.restart_count
            await self._update(container_id, restart_count=count + 1)
            await self._changes.start(container_id)
        except EngineError:
            if self._restarting.get(container_id) is scope:
                del self._restarting[container_id]
            await self._failed_again(container_id)
        else:
            if self._restarting.get(container_id) is scope:
                del self._restarting[container_id]
            self.started(container_id)
        if not self.busy:
            self._idle()

    async def _failed_again(self, container_id: str) -> None:
        """Treat a failed restart like an exit."""
        try:
            await self._update(container_id, status=Status.EXITED, finished_at=time.time())
            await self._after_end(self._changes.record(container_id))
        except EngineError:
            pass  # it was removed meanwhile
        self._notifier.notify(container_id)

    async def _update(self, container_id: str, **fields: object) -> None:
        state = self._changes.record(container_id).state
        await self._changes.update(container_id, msgspec.structs.replace(state, **fields))


async def _apart(work: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """Run work so that a bug that one container triggers does not stop the monitoring of the others."""
    try:
        await work(*arguments)
    except Exception:
        traceback.print_exc()
