"""The keeper's children (containers, execs, the shipper), from what they report about their start to their exit."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable

from engine.errors import EngineError
from engine.keeper.container import Container
from engine.keeper.containers import Containers
from engine.keeper.execution import Execution
from engine.keeper.life import State
from engine.keeper.shipping import Shipping

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from engine.keeper.messages import Exit

END_PAUSE = 0.1
"""Seconds between attempts to record the last output of a container."""


class Reaper:
    """`ended` is called with each container that has exited, and its exit record."""

    def __init__(
        self,
        loop: selectors.BaseSelector,
        containers: Containers,
        shipping: Shipping,
        ended: Callable[[Container, Exit], None],
    ) -> None:
        self._loop, self._containers, self._shipping, self._ended = loop, containers, shipping, ended
        self.execs: dict[int, Execution] = {}
        self._unrecorded: list[tuple[Container, int | None]] = []
        self.due = 0.0
        """When `tend` has something to do; 0: never."""

    def listen(self) -> None:
        """Handle SIGCHLD from now on."""
        wake, sleep = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(sleep, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._loop.register(wake, selectors.EVENT_READ, self._woken)

    # ── reports ─────────────────────────────────────────────────────────────────────────────────────

    def watch(self, container: Container) -> None:
        """Receive the reports of the container's process; for an adopted one, its exit."""
        if container.adopted:
            self._loop.register(container.pidfd, selectors.EVENT_READ, lambda _: self._end(container, None))
        elif container.child:
            self._loop.register(container.child, selectors.EVENT_READ, lambda _: self.read(container))

    def read(self, container: Container) -> bool:
        """Receive a report of the container's process; False if there is none now, or no more."""
        if container.child is None:
            return False
        try:
            open_still = container.read()
        except BlockingIOError:
            return False
        if not open_still:
            self._loop.unregister(container.child)
            container.report_closed()
        return True

    def watch_exec(self, execution: Execution) -> None:
        self.execs[execution.pid] = execution
        self._loop.register(execution.child, selectors.EVENT_READ, lambda _: self._read_exec(execution))

    def _read_exec(self, execution: Execution) -> None:
        if not execution.answered and not execution.read():
            self._settle(execution)

    def _settle(self, execution: Execution) -> None:
        if not execution.answered:
            self._loop.unregister(execution.child)
            execution.settle()

    # ── exits ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _woken(self, wake: int) -> None:
        try:
            while os.read(wake, 512):
                pass
        except BlockingIOError:
            pass
        by_pid = {c.pid: c for c in self._containers.alive.values() if not c.adopted}
        while (found := _zombie()) is not None:
            pid = found.si_pid
            if (container := by_pid.get(pid)) and self._is_end_of(container, pid):
                # Keep the zombie until its exit is recorded, so that the process never disappears without a known exit
                # code.
                self._end(container, found.si_status << (8 if found.si_code == os.CLD_EXITED else 0))
            elif container:
                by_pid[container.pid] = container
            _, status = os.waitpid(pid, 0)
            if pid == self._shipping.pid:
                self._shipping.died()
            elif execution := self.execs.pop(pid, None):
                self._read_exec(execution)
                self._settle(execution)
                code = os.waitstatus_to_exitcode(status)
                execution.ended(code if code >= 0 else 128 - code)

    def _is_end_of(self, container: Container, pid: int) -> bool:
        """Whether the exit of its process is the container's. The process of a script may have met a case that needs a fork."""
        while self.read(container):
            pass
        if container.life.state is State.REFUSED and not container.killed:
            try:
                container.make_again()
            except (OSError, EngineError) as error:
                container.failure = {"error": str(error), "exit_code": 125}
            else:
                self.watch(container)
        return container.pid == pid

    def _end(self, container: Container, status: int | None) -> None:
        """Handle the exit of the process with this wait status, None if it cannot be known."""
        if not container.streams.finish():
            self._unrecorded.append((container, status))
            self.due = time.monotonic() + END_PAUSE
            return
        while self.read(container):
            pass  # to the end of the stream, which shows whether the program was executed
        if container.adopted and container.pidfd in self._loop.get_map():
            self._loop.unregister(container.pidfd)
        if container.child:
            self._loop.unregister(container.child)
        awaited = container.life.state is State.STARTING
        record = container.end(status)
        self._containers.remove(container)
        container.life.enter(State.ENDED)
        if not awaited:
            self._containers.remember(container)
        self._ended(container, record)

    def tend(self) -> None:
        """Finish containers whose last output could not be recorded for lack of memory."""
        if self.due and time.monotonic() >= self.due:
            self.due, unrecorded, self._unrecorded = 0.0, self._unrecorded, []
            for container, status in unrecorded:
                self._end(container, status)


def _zombie() -> os.waitid_result | None:
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
