"""The supervisor of one project: the only writer of its state.

adopt what exists → serve requests, one at a time → monitor what runs → exit when nothing is left

Requests are planned here, from the current state, so that two commands never act on conflicting plans.
It must stay small: no pydantic, networkx or yaml.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import anyio
import msgspec
from anyio import CancelScope, create_task_group, to_thread, wait_readable
from anyio.abc import TaskGroup

from composer import compiled
from composer.plan import observed
from composer.plan.operations import Plan
from composer.plan.reconcile import reconcile
from composer.plan.replacement import leftovers
from composer.run import mounted_paths, oneoff
from composer.run.attach_handshake import AttachHandshake
from composer.run.connection import Connection
from composer.run.control import Control
from composer.run.executor import Executor, OperationContext
from composer.run.failure import unforeseen
from composer.run.held_root import HeldRoot
from composer.run.monitor import Monitor
from composer.run.notifier import Notifier
from composer.run.protocol import End, Event, Failure, Note, OneOff, Queued, Request
from composer.run.turns import Turn, Turns
from engine.control import listens, peer_is_us
from engine.errors import EngineError
from engine.paths import KEEPER_SOCKET, Roots
from engine.spec.state import INTERRUPTED, ContainerRecord

if TYPE_CHECKING:
    from composer.run.jobs.scheduler import Scheduler
    from composer.run.port import Changes, Engine

IDLE = 5.0
"""Seconds after which a supervisor exits if the command that started it never connects."""
STOPPING = ("down", "stop", "kill")
"""Actions that cancel an `up` in progress instead of waiting for it."""
STARTING = ("up", "create", "start", "restart", "run")


class Supervisor:
    def __init__(self, engine: Engine, roots: Roots, project: str, control: Control, again: list[str]) -> None:
        self._engine, self._roots, self._project, self._control = engine, roots, project, control
        self._again = again
        self._notifier = Notifier()
        self._leave: anyio.Event
        self._served_one: anyio.Event
        self._turns = Turns()
        self._served: list[Turn] = []
        self._open_requests = 0
        self._requested = False
        self._changes: Changes
        self._monitor: Monitor
        self._held_root: HeldRoot
        self._last: tuple[Connection, End] | None = None
        self._tasks: TaskGroup
        self._scheduler: Scheduler | None = None
        self.tidy = False
        """Whether it ended cleanly, with nothing of the project running."""

    async def run(self) -> None:
        """Run until nothing is left to do. Containers keep running when this is cancelled."""
        self._leave, self._served_one = anyio.Event(), anyio.Event()
        async with create_task_group() as tasks:
            await self._open(tasks)
            tasks.cancel_scope.cancel()
        if self._last is not None:
            connection, end = self._last
            connection.send(end)
            await connection.drain()

    async def _open(self, tasks: TaskGroup) -> None:
        """Adopt existing containers, and serve requests. `tasks` are the session's, and continue until it is closed."""
        try:
            self._changes = await self._engine.session(self._project, tasks, supervisor=self._again)
        except EngineError as error:
            await self._refuse(error)
            return
        try:
            records = await self._changes.adopt(clean=self._control.clean)
        except EngineError as error:
            await self._refuse(error)
            await self._changes.close()
            return
        self._held_root = HeldRoot(self._roots.state, self._project)
        await self._serve_all(records)
        self._control.close()
        await self._changes.close()
        self.tidy = True

    async def _serve_all(self, records: list[ContainerRecord]) -> None:
        async with create_task_group() as tasks:
            self._monitor = Monitor(
                self._changes,
                self._engine.image,
                self._notifier,
                tasks,
                self._leave_if_idle,
                boot_id=self._engine.boot_id(),
                job_ended=self._job_ended,
            )
            self._tasks = tasks
            if os.path.isdir(f"{self._roots.jobs}/{self._project}"):
                scheduler = self.scheduler()
                scheduler.load()
                await self._monitor.adopt(records)
                await scheduler.adopt()
            else:
                await self._monitor.adopt(records)
            tasks.start_soon(self._watch_ends)
            tasks.start_soon(self._listen, tasks)
            tasks.start_soon(self._expect_requests)
            tasks.start_soon(self._keep_compiled)
            await self._leave.wait()
            tasks.cancel_scope.cancel()

    async def _job_ended(self, record: ContainerRecord) -> None:
        await self.scheduler().runs.ended(record)

    def scheduler(self) -> Scheduler:
        """The project's jobs; most projects have none, and this is not loaded."""
        if self._scheduler is None:
            from composer.run.jobs.journal import Journal
            from composer.run.jobs.runner import JobRunner
            from composer.run.jobs.scheduler import Scheduler

            logs = partial(self._engine.logs, self._project)
            runner = JobRunner(
                self._project, self._changes, self._monitor, self._perform_own, logs, self._engine.boot_id()
            )
            journal = Journal(self._roots, self._project)
            self._scheduler = Scheduler(journal, runner, self._tasks, self._leave_if_idle)
            self._tasks.start_soon(self._scheduler.run)
        return self._scheduler

    async def _refuse(self, error: EngineError) -> None:
        """Report to a waiting command that the supervisor cannot start."""
        print(error, file=sys.stderr, flush=True)
        listener = self._control.listener
        listener.setblocking(False)
        async with create_task_group() as tasks:
            tasks.start_soon(self._cancel_without_launcher, tasks.cancel_scope)
            await wait_readable(listener)
            tasks.cancel_scope.cancel()
        with contextlib.suppress(BlockingIOError):
            sock, _ = listener.accept()
            connection = Connection(sock)
            if isinstance(await connection.receive(), Request):
                connection.send(End(failures=(Failure(message=str(error)),), last=True))
                await connection.drain()

    # ── exit ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _busy(self) -> bool:
        """Whether something runs, or will be started automatically."""
        return self._monitor.busy or (self._scheduler is not None and self._scheduler.busy)

    def _leave_if_idle(self) -> None:
        if self._requested and not self._open_requests and not self._busy:
            self._leave.set()

    async def _launcher_gone(self) -> None:
        """Wait for the command that started us, which may be slow."""
        if self._control.launcher is not None:
            await wait_readable(self._control.launcher)
        await anyio.sleep(IDLE)

    async def _cancel_without_launcher(self, scope: CancelScope) -> None:
        await self._launcher_gone()
        scope.cancel()

    async def _expect_requests(self) -> None:
        await self._launcher_gone()
        self._requested = True
        self._leave_if_idle()

    async def _keep_compiled(self) -> None:
        """Speed up later imports of the modules that this process and its command have loaded."""
        await self._served_one.wait()
        await to_thread.run_sync(compiled.renew, abandon_on_cancel=True)

    # ── restarts and jobs ───────────────────────────────────────────────────────────────────────────────────

    async def _watch_ends(self) -> None:
        async for container_id, _ in self._changes.exits():
            try:
                await self._monitor.ended(container_id)
            except EngineError as error:
                print(f"container {container_id[:12]}: {error}", file=sys.stderr, flush=True)

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _listen(self, tasks: TaskGroup) -> None:
        listener = self._control.listener
        listener.setblocking(False)
        while True:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                await wait_readable(listener)
                continue
            except OSError:
                await anyio.sleep(0.1)  # out of descriptors, perhaps: the connection waits
                continue
            if peer_is_us(sock):
                self._open_requests += 1  # count it here: an earlier request that ends must not make us exit
                tasks.start_soon(self._serve, sock)
            else:
                sock.close()

    async def _serve(self, sock: socket.socket) -> None:
        connection = Connection(sock)
        request = None
        try:
            request = await connection.receive()
            if isinstance(request, Request):
                self._requested = True
                async with create_task_group() as tasks:
                    tasks.start_soon(connection.write)
                    end = await self._take_turn(connection, request)
                    tasks.cancel_scope.cancel()
                if self._open_requests == 1 and not self._busy:
                    self._last = connection, msgspec.structs.replace(end, last=True)
                    self._leave.set()
                    return
                connection.send(end)
                await connection.drain()
                self._served_one.set()
        finally:
            self._open_requests -= 1
            if self._last is None or self._last[0] is not connection:
                connection.close()
        self._requested = self._requested or request is None  # it was started for a command that had nothing to do
        self._leave_if_idle()

    async def _take_turn(self, connection: Connection, request: Request) -> End:
        if request.operations or request.job is not None:
            return await self._perform_while_connected(connection, Turn(request))
        if self._turns.taken:
            connection.send(Queued())
        for served in self._served:
            if _overtakes(request, served):
                served.superseded_by = request.options.action
                served.work.cancel()
        turn = Turn(request, self._turns)
        await turn.begin()
        with self._serving(turn):
            end = await self._perform_while_connected(connection, turn)
        if turn.superseded_by:
            text = f"{request.options.action} was cancelled by another command: {turn.superseded_by}"
            end = End(failures=(Failure(message=text),))
        return end

    @contextlib.contextmanager
    def _serving(self, turn: Turn) -> Iterator[None]:
        self._served.append(turn)
        try:
            yield
        finally:
            self._served.remove(turn)
            turn.end()

    async def _perform_own(self, request: Request, scope: CancelScope) -> End:
        """Perform a request of our own when its turn comes, until `scope` is cancelled."""
        turn = Turn(request, self._turns)
        turn.work = scope
        await turn.begin()
        with self._serving(turn):
            return await self._perform(None, turn, None)

    async def _perform_while_connected(self, connection: Connection, turn: Turn) -> End:
        """Perform the request as long as its command is connected."""
        handshake = AttachHandshake(connection)
        end = End(failures=(Failure(message="", exit_code=130),))
        async with create_task_group() as tasks:
            tasks.start_soon(handshake.listen, turn.work.cancel)
            with turn.work:
                end = await self._perform(connection, turn, handshake)
            tasks.cancel_scope.cancel()
        return end

    async def _perform(self, connection: Connection | None, turn: Turn, handshake: AttachHandshake | None) -> End:
        request = turn.request
        send: Callable[[Event], None] = connection.send if connection is not None else lambda event: None
        try:
            self._held_root.check()
            if request.job is not None:
                from composer.run.jobs import actions

                return await actions.act(self.scheduler(), request.job, request.desired)
            snapshot = self._snapshot(request)
            if request.operations:
                plan = Plan(operations=list(request.operations))
            else:
                plan = reconcile(request.desired, snapshot, request.options)
            extra = request.oneoff.spec if request.oneoff is not None else None
            sock = connection.sock if connection is not None else None
            mounted_paths.check(self._roots, self._project, plan, extra, sock)
            if request.oneoff is not None:
                for warning in plan.warnings:
                    send(Note(f"warning: {warning}"))
            if request.options.action in STARTING:
                _report_interrupted(send, snapshot)
            context = self._context(turn, snapshot, send, handshake)
            executor = Executor(context, plan, parallel=request.options.parallel)
            turn.concerns = executor.concerns
            if request.oneoff is not None and request.oneoff.run:
                from composer.run.jobs import by_hand

                return await by_hand.run(
                    self.scheduler(), request, turn, lambda one: self._carry_out(executor, turn, one, handshake)
                )
            return await self._carry_out(executor, turn, request.oneoff, handshake)
        except EngineError as error:
            code = getattr(error, "exit_code", 1)
            return End(failures=(Failure(message=str(error), exit_code=code or 1),))
        except Exception as error:
            return End(failures=(Failure(message=unforeseen(error)),))

    def _context(
        self,
        turn: Turn,
        snapshot: observed.Snapshot,
        send: Callable[[Event], None],
        handshake: AttachHandshake | None,
    ) -> OperationContext:
        return OperationContext(
            changes=self._changes,
            monitor=self._monitor,
            notifier=self._notifier,
            desired=turn.request.desired,
            snapshot=snapshot,
            tail=self._tail,
            logs=partial(self._engine.logs, self._project),
            watch=partial(self._engine.watch, self._project),
            folder=partial(self._engine.folder, self._project),
            send=send,
            scheduler=self.scheduler,
            attach=frozenset(turn.request.options.attach),
            attached=handshake.attached if handshake is not None else None,
            turn=turn,
        )

    async def _carry_out(
        self, executor: Executor, turn: Turn, wanted: OneOff | None, handshake: AttachHandshake | None
    ) -> End:
        done = await self._execute(executor, turn)
        container_id = executor.made
        if done and wanted is not None:
            container_id = await oneoff.start(executor, wanted, handshake)
        return End(failures=tuple(executor.failures), container_id=container_id, exit_code=executor.exit_code)

    async def _execute(self, executor: Executor, turn: Turn) -> bool:
        """Execute the plan; returns whether everything succeeded. Replacements that a failure or cancellation interrupted are
        undone."""
        done = False
        try:
            done = await executor.run()
        finally:
            with CancelScope(shield=True):
                await self._settle(executor, turn, done=done)
        return done

    async def _settle(self, executor: Executor, turn: Turn, *, done: bool) -> None:
        await turn.begin()
        if not done and not turn.request.operations:
            plan = Plan()
            leftovers(plan, self._snapshot(turn.request))
            context = msgspec.structs.replace(executor.context, send=lambda event: None, turn=None)
            await Executor(context, plan).run()

    def _snapshot(self, request: Request) -> observed.Snapshot:
        containers = self._changes.containers()
        return observed.take(
            self._project,
            containers,
            self._engine.networks(),
            self._engine.volumes(),
            request.desired.references() if request.desired else (),
            self._engine.image,
            self._engine.forwarding(),
            self._scheduler.observed() if self._scheduler is not None else None,
            observed.changes_by_host(self._engine.host_changes, request.desired, containers),
        )

    def _tail(self, container_id: str, count: int) -> list[str]:
        """The last lines of a container's log; none when it cannot be read."""
        try:
            reader = self._engine.logs(self._project, container_id, tail=count)
        except EngineError:
            return []
        try:
            return "".join(entry.text for entry in reader.read()).splitlines()[-count:]
        except EngineError:
            return []
        finally:
            reader.close()


def _report_interrupted(send: Callable[[Event], None], snapshot: observed.Snapshot) -> None:
    for record in snapshot.containers:
        if record.state.error == INTERRUPTED:
            send(Note(f"Warning: container {record.spec.name}: {INTERRUPTED}; restarting it"))


def _overtakes(request: Request, served: Turn) -> bool:
    """Whether a request interrupts the one in progress, because it undoes that one's work. Requests for other services
    wait."""
    action, running = request.options.action, served.request.options.action
    undoes = (action in STOPPING and running in STARTING) or (action == "kill" and running == "stop")
    if not undoes or request.options.containers:
        return False
    return not request.options.services or bool(served.concerns() & set(request.options.services))


def supervise(engine: Engine, roots: Roots, project: str, control: Control, again: list[str]) -> None:
    """Run the supervisor until nothing is left to do. `again` is the command line that starts another."""
    supervisor = Supervisor(engine, roots, project, control, again)
    gc.freeze()  # imported modules stay: exclude them from garbage collection
    anyio.run(supervisor.run)
    if supervisor.tidy or control.clean:
        # A keeper that turned out to be unnecessary listens a moment longer; it removes its own files.
        control.tidy_up(whole=not listens(f"{os.path.dirname(control.path)}/{KEEPER_SOCKET}"))
