"""Walks a plan: every operation begins when those before it have succeeded, independent ones side by side. It decides
nothing: what is to be done stands in the plan."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from composer.plan.desired import Desired
from composer.plan.observed import Snapshot, number_of, service_of
from composer.plan.operations import Kind, Operation, Plan
from composer.run import conditions, container_spec, hooks
from composer.run.cancellation import shielded
from composer.run.monitor import Monitor
from composer.run.notifier import Notifier
from composer.run.protocol import BEGUN, DONE, FAILED, SKIPPED, WARNED, Failure, Note, Step
from engine.errors import Conflict, EngineError, NotFound
from engine.spec.container import ContainerSpec
from engine.spec.state import ContainerRecord, Status

if TYPE_CHECKING:
    from composer.run.port import Changes

TEMPORARY = "{old:.12}_{name}"
"""The name of a container that is about to take the place of another, as docker compose has it."""


class Scene(Struct, kw_only=True):
    """What a plan is carried out in: the project as wanted and as it was when the plan was made. For containers of the
    services `attach`, `attached` is awaited before their programs start."""

    changes: Changes
    monitor: Monitor
    notifier: Notifier
    desired: Desired | None
    snapshot: Snapshot
    tail: conditions.Tail
    tell: Callable[[Step | Note], None]
    attach: frozenset[str] = frozenset()
    attached: Callable[[str], Awaitable[None]] | None = None


class Warned(Exception):
    """The operation could not be done, and that does not matter to the others."""


class Executor:
    """One plan's execution; `failures` afterwards, in the order of their happening."""

    def __init__(self, scene: Scene, plan: Plan, *, parallel: int = -1) -> None:
        self.scene, self.plan = scene, plan
        self.failures: list[Failure] = []
        self._limit = asyncio.Semaphore(parallel) if parallel > 0 else None
        self._finished: dict[int, asyncio.Event] = {}
        self._succeeded: set[int] = set()
        self._ids = {record.spec.name: record.id for record in scene.snapshot.containers}
        self._numbers: dict[str, dict[int, str]] = {}
        for record in reversed(scene.snapshot.containers):
            self._numbers.setdefault(service_of(record), {})[number_of(record)] = record.id

    async def run(self) -> bool:
        """Do everything that can be done; whether all of it was. Cancelled, it finishes what has begun."""
        self._finished = {operation.id: asyncio.Event() for operation in self.plan.operations}
        async with asyncio.TaskGroup() as tasks:
            for operation in self.plan.operations:
                tasks.create_task(self._follow(operation))
        return not self.failures

    async def _follow(self, operation: Operation) -> None:
        try:
            for before in operation.after:
                await self._finished[before].wait()
                if before not in self._succeeded:
                    self._tell(operation, SKIPPED)
                    return
            if operation.kind is Kind.WAIT or self._limit is None:
                await self._attempt(operation)
            else:
                async with self._limit:
                    await self._attempt(operation)
        finally:
            self._finished[operation.id].set()

    async def _attempt(self, operation: Operation) -> None:
        self._tell(operation, BEGUN)
        try:
            await getattr(self, f"_{operation.kind.name.lower()}")(operation)
        except Warned as warning:
            self._tell(operation, WARNED, str(warning))
        except EngineError as error:
            self._tell(operation, FAILED, error.message.partition("\n")[0])
            code = getattr(error, "exit_code", 1)
            self.failures.append(Failure(message=message(operation, error), exit_code=code or 1))
            return
        else:
            self._tell(operation, DONE)
        self._succeeded.add(operation.id)

    def _tell(self, operation: Operation, state: str, detail: str = "") -> None:
        self.scene.tell(
            Step(
                kind=operation.kind.value,
                name=operation.name,
                state=state,
                cause=operation.cause,
                condition=operation.condition,
                detail=detail,
            )
        )

    def id_of(self, operation: Operation) -> str:
        found = operation.container_id or self._ids.get(operation.name, "")
        if not found:
            raise NotFound("container", operation.name)
        return self._ids.get(operation.name, found)

    def find(self, what: str) -> str:
        """The id of the container that `service:NAME` or `container:NAME` means."""
        kind, _, name = what.partition(":")
        if kind == "service":
            numbers = self._numbers.get(name, {})
            if not numbers:
                raise NotFound("container of service", name)
            return numbers[min(numbers)]
        for known, container_id in self._ids.items():
            if name == known or (len(name) >= 12 and container_id.startswith(name)):
                return container_id
        raise NotFound("container", name, hint="Only containers of the same project can be joined.")

    # ── networks and volumes ─────────────────────────────────────────────────────────────────────────────────────

    async def _create_network(self, operation: Operation) -> None:
        assert operation.network is not None
        await shielded(self.scene.changes.create_network(operation.network))

    async def _remove_network(self, operation: Operation) -> None:
        await self._remove_shared(self.scene.changes.remove_network(operation.name))

    async def _create_volume(self, operation: Operation) -> None:
        assert operation.volume is not None
        await shielded(self.scene.changes.create_volume(operation.volume))

    async def _remove_volume(self, operation: Operation) -> None:
        await self._remove_shared(self.scene.changes.remove_volume(operation.name))

    @staticmethod
    async def _remove_shared(removal: Coroutine[Any, Any, None]) -> None:
        try:
            await shielded(removal)
        except NotFound:
            pass  # somebody else has removed it
        except Conflict:
            raise Warned("Resource is still in use") from None

    # ── containers ───────────────────────────────────────────────────────────────────────────────────────────────

    def _specification(self, operation: Operation) -> ContainerSpec:
        assert operation.service is not None
        assert self.scene.desired is not None
        return container_spec.specification(
            self.scene.desired,
            operation.service,
            operation.number,
            operation.name,
            self.scene.snapshot.images,
            self.find,
        )

    def _know(self, operation: Operation, container_id: str) -> None:
        self._ids[operation.name] = container_id
        self._numbers.setdefault(operation.service_name, {})[operation.number] = container_id

    async def _create(self, operation: Operation) -> None:
        spec = self._specification(operation)
        self.say_left_out(spec, operation.service_name)
        record = await shielded(self.scene.changes.create(spec))
        self._know(operation, record.id)

    def say_left_out(self, spec: ContainerSpec, service: str) -> None:
        for line in self.scene.changes.left_out(spec):
            self.scene.tell(Note(f"Warning: service {service}: {line}"))

    async def _recreate(self, operation: Operation) -> None:
        """As docker compose does: the new one is there, under a temporary name, before the old one goes. What a crash
        leaves in between is put right by the next request; see repair.py."""
        changes, old = self.scene.changes, self.scene.changes.record(operation.container_id)
        spec = self._specification(operation)
        self.say_left_out(spec, operation.service_name)
        volumes: Sequence[str] = ()
        if not operation.renew_volumes:
            spec, volumes = container_spec.inheriting(spec, old)
        temporary = TEMPORARY.format(old=old.id, name=operation.name)
        spec = msgspec.structs.replace(spec, name=temporary)
        new = await shielded(changes.create(spec, anonymous_volumes=volumes))
        try:
            await self._end(operation)
        except BaseException:
            await shielded(self._give_up(new, volumes))
            raise
        await shielded(self._take_place(operation, old, new))

    async def _give_up(self, new: ContainerRecord, inherited: Sequence[str]) -> None:
        own = tuple(name for name in new.state.anonymous_volumes if name not in inherited)
        await self.scene.changes.update(new.id, msgspec.structs.replace(new.state, anonymous_volumes=own))
        await self.scene.changes.remove(new.id, volumes=True)

    async def _take_place(self, operation: Operation, old: ContainerRecord, new: ContainerRecord) -> None:
        await self.scene.changes.remove(old.id, force=True, volumes=operation.renew_volumes)
        self.scene.monitor.gone(old.id)
        await self.scene.changes.rename(new.id, operation.name)
        self._know(operation, new.id)

    async def _start(self, operation: Operation) -> None:
        await self._begin(operation, self.id_of(operation))

    async def _begin(self, operation: Operation, container_id: str) -> None:
        await shielded(self._run(operation, container_id))
        if operation.service is not None and operation.service.post_start:
            await hooks.run(self.scene.changes, container_id, operation.service.post_start, "post_start")

    async def _run(self, operation: Operation, container_id: str) -> None:
        await self.scene.monitor.reset_backoff(container_id)
        if not self.scene.changes.record(container_id).state.status.alive:
            await self.scene.changes.start(container_id, ready=self._ready(operation, container_id))
        self.scene.monitor.started(container_id)

    def _ready(self, operation: Operation, container_id: str) -> Callable[[], Awaitable[None]] | None:
        attached = self.scene.attached
        if attached is None or operation.service_name not in self.scene.attach:
            return None

        async def ready() -> None:
            await attached(container_id)

        return ready

    async def _stop(self, operation: Operation) -> None:
        await self._end(operation)
        if operation.suspend:
            # As if it had ended with an earlier boot: `autostart run` brings it back.
            state = self.scene.changes.record(operation.container_id).state
            suspended = msgspec.structs.replace(state, stopped_by_user=False, boot_id="")
            await self.scene.changes.update(operation.container_id, suspended)

    async def _end(self, operation: Operation) -> None:
        """Hooks, then the stop signal, then patience, then SIGKILL."""
        container_id = operation.container_id
        service = operation.service
        if service is not None and service.pre_stop:
            if self.scene.changes.record(container_id).state.status is Status.RUNNING:
                await hooks.run(self.scene.changes, container_id, service.pre_stop, "pre_stop")
        await self.scene.monitor.suppress_restart(container_id)
        await self.scene.changes.stop(container_id, timeout=operation.timeout)
        self.scene.monitor.gone(container_id)

    async def _restart(self, operation: Operation) -> None:
        container_id = self.id_of(operation)
        await self._end(operation)
        await self._begin(operation, container_id)

    async def _kill(self, operation: Operation) -> None:
        container_id, signal = operation.container_id, operation.signal or "SIGKILL"
        if signal.upper().removeprefix("SIG") in ("KILL", "9"):
            await shielded(self._kill_for_good(container_id))
        else:
            await shielded(self.scene.changes.signal(container_id, signal))

    async def _kill_for_good(self, container_id: str) -> None:
        await self.scene.monitor.suppress_restart(container_id)
        await self.scene.changes.stop(container_id, timeout=0, signal="SIGKILL")
        self.scene.monitor.gone(container_id)

    async def _pause(self, operation: Operation) -> None:
        await self.scene.changes.pause(operation.container_id)
        self.scene.notifier.tell(operation.container_id)

    async def _unpause(self, operation: Operation) -> None:
        await self.scene.changes.unpause(operation.container_id)
        self.scene.notifier.tell(operation.container_id)

    async def _remove(self, operation: Operation) -> None:
        try:
            await shielded(self._remove_for_good(operation))
        except NotFound:
            pass  # it went by itself (run --rm)
        self.scene.monitor.gone(operation.container_id)

    async def _remove_for_good(self, operation: Operation) -> None:
        await self.scene.monitor.suppress_restart(operation.container_id)
        await self.scene.changes.remove(operation.container_id, force=operation.force, volumes=operation.volumes)

    async def _wait(self, operation: Operation) -> None:
        try:
            async with asyncio.timeout(operation.timeout or None):
                await self._gate(operation)
        except TimeoutError:
            raise conditions.GateFailed(
                f"timeout waiting for dependencies: {operation.name} not {operation.condition} in {operation.timeout:g}s"
            ) from None
        except conditions.GateFailed as failure:
            if operation.required:
                raise
            raise Warned(f"optional dependency: {failure.message.partition(chr(10))[0]}") from None

    async def _gate(self, operation: Operation) -> None:
        container_id = self.id_of(operation)
        changes = self.scene.changes
        check = self.scene.monitor.check(changes.record(container_id))
        try:
            await self.scene.notifier.until(
                container_id, lambda: conditions.outcome(changes.record(container_id), operation.condition, check)
            )
        except conditions.GateFailed as failure:
            record = changes.record(container_id)
            raise conditions.explained(failure, record, check, self.scene.tail) from None


def message(operation: Operation, error: EngineError) -> str:
    """What failed, of which service, why, and what to do."""
    if operation.kind is Kind.WAIT:
        return str(error)
    whose = f"service {operation.service_name}: " if operation.service_name else ""
    return f"{whose}cannot {operation.kind.value} {operation.name}: {error}"
