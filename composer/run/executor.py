"""Executes a plan. An operation starts when those that it depends on have succeeded; independent operations run concurrently.

Nothing is decided here: the plan says what to do.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
from anyio import CancelScope, Event, Semaphore, create_task_group, fail_after, move_on_after, sleep
from msgspec import Struct

from composer.plan.conditions import Never, outcome
from composer.plan.desired import Desired, DesiredService
from composer.plan.labels import is_replica, number_of, service_of
from composer.plan.observed import Snapshot
from composer.plan.operations import (
    RECREATE,
    AwaitEnd,
    Connect,
    Create,
    CreateNetwork,
    CreateVolume,
    Disconnect,
    Kill,
    Make,
    Operation,
    Pause,
    Plan,
    PreStartHooks,
    RegisterJob,
    Rejoin,
    Remove,
    RemoveJob,
    RemoveNetwork,
    RemoveVolume,
    Rename,
    RunJob,
    Start,
    StartJob,
    Stop,
    StopJob,
    Unpause,
    Update,
    Wait,
)
from composer.plan.replacement import temporary_name
from composer.run import container_spec, gate_errors, hooks
from composer.run.failure import unforeseen
from composer.run.monitor import Monitor
from composer.run.notifier import Notifier
from composer.run.protocol import BEGUN, DONE, FAILED, SKIPPED, WARNED, Failure, HookLine, Note, Step
from composer.run.turns import Turn
from engine.errors import Conflict, EngineError, NotFound
from engine.spec.container import ContainerSpec, Membership
from engine.spec.state import Status

if TYPE_CHECKING:
    from composer.run.handles import LogReader, Watch
    from composer.run.jobs.scheduler import Scheduler
    from composer.run.port import Changes

STEADY = 0.5
"""Seconds that a container without a healthcheck must run before it counts as running, so that a program that fails at
once never counts as ready."""


class OperationContext(Struct, kw_only=True):
    """The context of a plan: the desired project, and its state when the plan was made.

    `attached` is awaited before the program of a container of the services `attach` starts. `turn` is given up while the
    remaining operations only wait.
    """

    changes: Changes
    monitor: Monitor
    notifier: Notifier
    desired: Desired | None
    snapshot: Snapshot
    tail: gate_errors.Tail
    logs: Callable[[str], LogReader]
    watch: Callable[[], Watch]
    folder: Callable[[str], str]
    send: Callable[[Step | Note | HookLine], None]
    attach: frozenset[str] = frozenset()
    attached: Callable[[str], Awaitable[None]] | None = None
    turn: Turn | None = None
    scheduler: Callable[[], Scheduler] | None = None


class Warned(Exception):
    """The operation failed, but other operations do not depend on it."""


class Executor:
    """The execution of one plan. Afterwards, `failures` lists failures in the order in which they occurred, `made` is the id
    of a one-off container that was created, and `exit_code` that of a container that was waited for."""

    def __init__(self, context: OperationContext, plan: Plan, *, parallel: int = -1) -> None:
        self.context, self.plan = context, plan
        self.failures: list[Failure] = []
        self.made = ""
        self.exit_code = 0
        self._limit = Semaphore(parallel) if parallel > 0 else None
        self._ready_to_run: dict[int, Event] = {}
        self._before: dict[int, set[int]] = {}
        self._after: dict[int, list[int]] = {}
        self._acting = 0
        """How many operations wait neither for a condition nor for earlier operations."""
        self._succeeded: set[int] = set()
        self._ids = {record.spec.name: record.id for record in context.snapshot.containers}
        self._numbers: dict[str, dict[int, str]] = {}
        for record in reversed(context.snapshot.containers):
            if is_replica(record):
                self._numbers.setdefault(service_of(record), {})[number_of(record)] = record.id

    async def run(self) -> bool:
        """Execute as much as possible; returns whether everything succeeded. When cancelled, it finishes operations that have
        begun."""
        for operation in self.plan.operations:
            self._ready_to_run[operation.id] = Event()
            self._before[operation.id] = set(operation.after)
            for before in operation.after:
                self._after.setdefault(before, []).append(operation.id)
            if not operation.after:
                self._may_begin(operation.id)
        async with create_task_group() as tasks:
            for operation in self.plan.operations:
                tasks.start_soon(self._follow, operation)
        return not self.failures

    async def _follow(self, operation: Operation) -> None:
        await self._ready_to_run[operation.id].wait()
        try:
            if not self._succeeded.issuperset(operation.after):
                self._report(operation, SKIPPED)
            elif isinstance(operation, Wait) or self._limit is None:
                await self._attempt(operation)
            else:
                async with self._limit:
                    await self._attempt(operation)
        finally:
            self._end(operation.id)

    def _may_begin(self, number: int) -> None:
        self._acting += 1
        self._ready_to_run[number].set()

    def _end(self, number: int) -> None:
        """Record that an operation has ended, and start those that waited only for it."""
        for after in self._after.get(number, ()):
            self._before[after].discard(number)
            if not self._before[after]:
                self._may_begin(after)
        self._pause()

    def _pause(self) -> None:
        """Mark one operation as waiting. When all operations wait, other requests get their turn."""
        self._acting -= 1
        if not self._acting and self.context.turn is not None:
            self.context.turn.end()

    async def _resume(self) -> None:
        if self.context.turn is not None:
            with CancelScope(shield=True):
                await self.context.turn.begin()
        self._acting += 1

    @contextlib.asynccontextmanager
    async def _waiting(self) -> AsyncIterator[None]:
        self._pause()
        try:
            yield
        finally:
            await self._resume()

    def concerns(self) -> set[str]:
        """The services that the plan still has to change or wait for."""
        waiting = [one for one in self.plan.operations if one.id not in self._succeeded]
        return {operation.service_name for operation in waiting}

    async def _attempt(self, operation: Operation) -> None:
        self._report(operation, BEGUN)
        try:
            await self._execute(operation)
        except Warned as warning:
            self._report(operation, WARNED, str(warning))
        except EngineError as error:
            self._report(operation, FAILED, error.message.partition("\n")[0])
            code = getattr(error, "exit_code", 1)
            self.failures.append(
                Failure(message=message(operation, error), exit_code=code or 1, error=type(error).__name__)
            )
            return
        except Exception as error:
            # The rest of the plan continues: a bug in one operation must not cancel the others.
            text = unforeseen(error)
            self._report(operation, FAILED, text.partition("\n")[0])
            self.failures.append(Failure(message=text))
            return
        else:
            self._report(operation, DONE)
        self._succeeded.add(operation.id)

    def _report(self, operation: Operation, state: str, detail: str = "") -> None:
        self.context.send(
            Step(
                kind=operation.kind,
                part=operation.part,
                name=operation.name,
                state=state,
                cause=operation.cause,
                condition=operation.condition if isinstance(operation, Wait) else "",
                detail=detail,
            )
        )

    async def _execute(self, operation: Operation) -> None:
        match operation:
            case RemoveNetwork():
                await self._remove_shared(self.context.changes.remove_network, operation.name)
            case RemoveVolume():
                await self._remove_shared(self.context.changes.remove_volume, operation.name)
            case CreateNetwork() | CreateVolume() | Make() | Connect() | Disconnect() | Rejoin() | Update() | Rename():
                with CancelScope(shield=True):
                    await self._change(operation)
            case Create():
                await self._create(operation)
            case Start():
                await self._start(operation)
            case PreStartHooks():
                await self._prepare(operation)
            case Stop():
                await self._stop(operation)
            case Kill():
                await self._kill(operation)
            case AwaitEnd():
                self.exit_code = await self._await_end(operation)
            case Pause() | Unpause():
                changes = self.context.changes
                await (changes.pause if isinstance(operation, Pause) else changes.unpause)(operation.container_id)
                self.context.notifier.notify(operation.container_id)
            case Remove():
                await self._remove(operation)
            case Wait():
                async with self._waiting():
                    await self._wait(operation)
            case RunJob():
                async with self._waiting():
                    await self._run_job(operation)
            case RegisterJob() | StartJob() | StopJob() | RemoveJob():
                assert self.context.scheduler is not None
                with CancelScope(shield=True):
                    await _change_job(self.context.scheduler(), operation)

    async def _change(
        self, operation: CreateNetwork | CreateVolume | Make | Connect | Disconnect | Rejoin | Update | Rename
    ) -> None:
        """Make one call of the engine, which is short and not interrupted."""
        changes = self.context.changes
        match operation:
            case CreateNetwork():
                await changes.create_network(operation.network)
            case CreateVolume():
                await changes.create_volume(operation.volume)
            case Make():
                self.made = (await changes.create(operation.spec)).id
                self._ids[operation.name] = self.made
            case Connect():
                await changes.connect(operation.container_id, operation.attachment)
            case Disconnect():
                await changes.disconnect(operation.container_id, operation.network)
            case Rejoin():
                await changes.rejoin(
                    [
                        Membership(
                            container_id=container_id,
                            networks=service.container.networks,
                            labels=container_spec.configuration(service),
                        )
                        for container_id, service in ((operation.container_id, operation.service), *operation.together)
                    ]
                )
            case Update():
                await changes.limit(
                    operation.container_id, operation.resources, operation.restart, operation.host_config
                )
            case Rename():
                container_id = self.id_of(operation)
                await changes.rename(container_id, operation.name)
                self._ids[operation.name] = container_id

    def id_of(self, operation: Start | Rename | Wait) -> str:
        """The id of its container, which may be one that this plan has created."""
        given = "" if isinstance(operation, Wait) else operation.container_id
        if not (found := given or self._ids.get(operation.name, "")):
            raise NotFound("container", operation.name)
        return found

    def find(self, reference: str) -> str:
        """The id of the container that `service:NAME` or `container:NAME` refers to; the name itself for a container of
        another project."""
        kind, _, name = reference.partition(":")
        if kind == "service":
            numbers = self._numbers.get(name, {})
            if not numbers:
                raise NotFound("container of service", name)
            return numbers[min(numbers)]
        for known, container_id in self._ids.items():
            if name == known or (len(name) >= 12 and container_id.startswith(name)):
                return container_id
        return name  # a container of another project, or of no project

    @staticmethod
    async def _remove_shared(remove: Callable[[str], Awaitable[None]], name: str) -> None:
        try:
            with CancelScope(shield=True):
                await remove(name)
        except NotFound:
            pass  # removed concurrently
        except Conflict:
            raise Warned("Resource is still in use") from None

    async def _create(self, operation: Create) -> None:
        assert self.context.desired is not None
        images = self.context.snapshot.images
        spec = container_spec.specification(
            self.context.desired, operation.service, operation.number, operation.name, images, self.find
        )
        self.warn_of_ignored_settings(spec, operation.service_name)
        volumes: Sequence[str] = ()
        if operation.replaces:
            if not operation.renew_volumes:
                spec, volumes = container_spec.inheriting(spec, self.context.changes.record(operation.replaces))
            spec = msgspec.structs.replace(spec, name=temporary_name(operation.replaces, operation.name))
        with CancelScope(shield=True):
            record = await self.context.changes.create(spec, anonymous_volumes=volumes)
        self._ids[operation.name] = record.id
        self._numbers.setdefault(operation.service_name, {})[operation.number] = record.id

    def warn_of_ignored_settings(self, spec: ContainerSpec, service: str) -> None:
        for line in self.context.changes.left_out(spec):
            self.context.send(Note(f"Warning: service {service}: {line}"))

    async def _start(self, operation: Start) -> None:
        container_id = self.id_of(operation)
        with CancelScope(shield=True):
            await self._run(operation, container_id)
        if operation.service is not None and operation.service.post_start:
            await hooks.run(self.context, container_id, operation.service, "post_start")

    async def _prepare(self, operation: PreStartHooks) -> None:
        from composer.run import pre_start  # few projects have jobs

        await pre_start.run(self.context, operation.service, self.find, self._waiting)

    async def _run(self, operation: Start, container_id: str) -> None:
        await self.context.monitor.reset_backoff(container_id)
        if not self.context.changes.record(container_id).state.status.alive:
            try:
                await self.context.changes.start(container_id, ready=self._ready(operation, container_id))
            except EngineError:
                await self.context.monitor.stays_down(container_id)
                raise
        self.context.monitor.started(container_id)

    def _ready(self, operation: Start, container_id: str) -> Callable[[], Awaitable[None]] | None:
        attached = self.context.attached
        if attached is None or operation.service_name not in self.context.attach:
            return None

        async def ready() -> None:
            await attached(container_id)

        return ready

    async def _stop(self, operation: Stop) -> None:
        """Run the hooks, send the stop signal, wait, then send SIGKILL."""
        container_id, service = operation.container_id, operation.service
        if operation.returns or operation.part == RECREATE:
            if self.context.changes.record(container_id).state.status.alive:
                self.context.changes.afford_start()
        if service is not None and service.pre_stop:
            if self.context.changes.record(container_id).state.status is Status.RUNNING:
                await self._pre_stop(operation, service)
        await self.context.monitor.suppress_restart(container_id, returns=operation.returns)
        await self.context.changes.stop(container_id, timeout=operation.timeout, signal=operation.signal)
        self.context.monitor.forget(container_id)
        if operation.suspend:
            # Treat it as ended by a reboot, so that `autostart run` starts it again.
            state = self.context.changes.record(container_id).state
            suspended = msgspec.structs.replace(state, stopped_by_user=False, boot_id="")
            await self.context.changes.update(container_id, suspended)

    async def _pre_stop(self, operation: Stop, service: DesiredService) -> None:
        try:
            await hooks.run(self.context, operation.container_id, service, "pre_stop")
        except EngineError as error:
            if operation.strict:
                raise
            self.context.send(Note(text=f"warning: container {operation.name} is stopped although {error}"))

    async def _kill(self, operation: Kill) -> None:
        container_id, signal = operation.container_id, operation.signal
        if signal.upper().removeprefix("SIG") in ("KILL", "9"):
            with CancelScope(shield=True):
                await self._kill_for_good(container_id)
        else:
            with CancelScope(shield=True):
                await self.context.changes.signal(container_id, signal)

    async def _kill_for_good(self, container_id: str) -> None:
        await self.context.monitor.suppress_restart(container_id)
        await self.context.changes.stop(container_id, timeout=0, signal="SIGKILL")
        self.context.monitor.forget(container_id)

    async def _await_end(self, operation: AwaitEnd) -> int:
        """The exit code once the condition is true. A container that removes itself may be gone before it can be examined."""
        container_id, condition = operation.container_id, operation.condition
        codes = self.context.monitor.exit_codes
        if container_id in codes:
            return codes[container_id]
        state = self.context.changes.record(container_id).state
        before, since_up = state.finished_at, state.status.up
        latest = state

        def look() -> int | None:
            nonlocal latest
            try:
                state = latest = self.context.changes.record(container_id).state
            except NotFound:  # a running one was killed for its removal
                return codes.get(container_id, 128 + signal.SIGKILL if latest.status.alive else latest.exit_code)
            up = state.status.up
            if (
                condition != "removed"
                and (since_up or condition == "next-exit")
                and state.finished_at not in (0, before)
            ):
                return state.exit_code  # even if a restart policy starts it again
            if condition == "not-running" and not up:
                return state.exit_code if state.finished_at else 0
            return None

        return await self.context.notifier.until(container_id, look)

    async def _remove(self, operation: Remove) -> None:
        try:
            with CancelScope(shield=True):
                await self._remove_for_good(operation)
        except NotFound:
            pass  # it removed itself (run --rm)
        self.context.monitor.forget(operation.container_id)

    async def _remove_for_good(self, operation: Remove) -> None:
        await self.context.monitor.suppress_restart(operation.container_id)
        await self.context.changes.remove(operation.container_id, force=operation.force, volumes=operation.volumes)

    async def _wait(self, operation: Wait) -> None:
        container_id = self.id_of(operation)
        try:
            with fail_after(operation.timeout or None):
                while rest := await self._gate(container_id, operation.condition):
                    await sleep(rest)
        except TimeoutError:
            raise gate_errors.timed_out(operation, self.context.changes.record(container_id)) from None
        except Never as reason:
            if not operation.required:
                raise Warned(gate_errors.optional(reason, operation.service_name)) from None
            record = self.context.changes.record(container_id)
            raise gate_errors.explained(
                reason, operation, record, self.context.monitor.check(record), self.context.tail
            ) from None

    async def _run_job(self, operation: RunJob) -> None:
        from composer.run.jobs import dependency

        assert self.context.scheduler is not None
        try:
            await dependency.run(self.context.scheduler(), operation)
        except dependency.JobFailed as failure:
            if not operation.required:
                raise Warned(str(failure)) from None
            raise

    async def _gate(self, container_id: str, condition: str) -> float:
        """Check the condition. Returns the seconds until the next check, or 0 when the condition is fulfilled."""
        changes, notifier = self.context.changes, self.context.notifier
        try:
            await notifier.until(container_id, lambda: outcome(changes.record(container_id), condition))
        except Never:
            if changes.record(container_id).state.health is None:
                # A program that fails at once is a better reason than a missing healthcheck.
                with move_on_after(STEADY):
                    await notifier.until(
                        container_id, lambda: not changes.record(container_id).state.status.alive or None
                    )
                outcome(changes.record(container_id), condition)
            raise
        state = changes.record(container_id).state
        if condition != "running" or state.health is not None:
            return 0.0
        rest = state.started_at + STEADY - time.time()
        return rest if 0 < rest <= STEADY else 0.0  # longer if the clock was set back meanwhile


async def _change_job(scheduler: Scheduler, operation: RegisterJob | StartJob | StopJob | RemoveJob) -> None:
    match operation:
        case RegisterJob():
            from composer.run.jobs.dependency import definition_of

            await scheduler.register(definition_of(operation))
        case StartJob():
            await scheduler.start(operation.name)
        case StopJob():
            await scheduler.stop(operation.name)
        case RemoveJob():
            await scheduler.remove(operation.name, history=operation.history)


def message(operation: Operation, error: EngineError) -> str:
    """What failed, for which service, why, and how to fix it."""
    if isinstance(operation, Wait | PreStartHooks | RunJob):
        return str(error)
    whose = f"service {operation.service_name}: " if operation.service_name else ""
    return f"{whose}cannot {operation.kind} {operation.name}: {error}"
