"""One container in its keeper: its process, from creation to exit."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from engine.keeper import early_exit, exit_record, first_process, pipes
from engine.keeper.life import Life, State
from engine.keeper.protocol import Channel, Message
from engine.keeper.script.recording import Unscripted
from engine.keeper.script.start import Start
from engine.keeper.streams import Streams
from engine.kernel import calls
from engine.kernel.proc import has_executed

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from engine.keeper.bundle import Bundle
    from engine.keeper.messages import Exit, Failure


class Container:
    """Made by `create` or `adopt`. `pid` is our child's unless `adopted`: then a pidfd reports its end."""

    def __init__(self, container_id: str, bundle: Bundle, streams: Streams) -> None:
        self.id, self.bundle, self.streams = container_id, bundle, streams
        self.life = Life()
        self.pid = self.pid_start = 0
        self.pidfd = -1
        self.adopted = False
        self.killed = False
        """Whether we have sent it SIGKILL."""
        self.failure: Failure | None = None
        """Why the process does not run the program, as an answer."""
        self.child: Channel | None = None
        """The channel on which the process reports until it executes the program; None at its end."""
        self._start: Start | None = None
        self._scripted = False
        self._log_mark = -1
        self.dns: list[int] = []

    # ── guards; all are true once the container has ended ──────────────────────────────

    @property
    def executed(self) -> bool:
        """The process has executed the program."""
        return self.life.state is State.RUNNING or (self.life.state is State.ENDED and self.failure is None)

    def is_made(self) -> bool:
        """The process is final. A script's process may be replaced until it is ready."""
        if self.life.state is State.MADE:
            return not self._scripted or self.child is None
        return self.life.state is not State.REFUSED

    def has_sockets(self) -> bool:
        """Its DNS sockets are open, or never will be. A script's sockets count once the process is final."""
        settled = self.dns or self.child is None or self.bundle.get("dns") is None
        return self.is_made() and bool(settled)

    def has_terminal(self) -> bool:
        """Its pseudo-terminal is open, or never will be, or it has none."""
        return (
            not self.streams.tty
            or self.streams.master >= 0
            or (self.child is None and self.life.state is not State.REFUSED)
        )

    def is_decided(self) -> bool:
        """The process has executed the program or exited."""
        return self.life.state >= State.RUNNING

    def is_explained(self) -> bool:
        """It is known whether the program will run, and why not: the process is not just exiting."""
        return self.life.state >= State.RUNNING or (self.child is not None and not self.killed)

    # ── start ──────────────────────────────────────────────────────────────────────────

    def make(self, *, scripted: bool = True) -> None:
        """Create the process in its new namespaces, by a script if possible. Raises OSError or EngineError; then only
        our pipes are left."""
        child_fds = self.streams.open()
        self._log_mark = early_exit.mark()
        try:
            found = first_process.begin(self.bundle, child_fds) if scripted else None
            self._scripted = found is not None
            if found is None:
                self.pid, self.pidfd, self.child = first_process.fork(self.bundle, child_fds)
            else:
                self._start, self.child = found
                self.pid, self.pidfd = self._start.pid, self._start.pidfd
        finally:
            for fd in child_fds.values():
                os.close(fd)
        self.pid_start = calls.start_time(self.pid)
        self.child.sock.setblocking(False)

    def make_again(self) -> None:
        """Create the process by a fork, after the script's process has exited, because its mounts exist until then.
        Raises as `make`; then there is no process."""
        for fd in (*self.dns, self.pidfd):
            os.close(fd)
        self.dns, self.pidfd = [], -1
        self.make(scripted=False)
        self.life.enter(State.MADE)

    def adopt(self, pid: int, pid_start: int, pidfd: int, descriptors: Sequence[int]) -> None:
        """Take over a program that another keeper started. `descriptors`: the terminal's master, or stdout and stderr,
        if another process has kept them; the caller keeps its copies."""
        self.pid, self.pidfd, self.pid_start = pid, pidfd, pid_start
        self.adopted, self.life = True, Life(State.RUNNING)
        self.streams.adopt(pipes.processes(self.bundle["cgroup_procs"], pid), descriptors)

    def read(self) -> bool:
        """Read a report of the process about its start; False at the end of the stream, then call `report_closed`. Raises
        BlockingIOError when there is none now. Invalid data, from a process that traces it, ends it too."""
        assert self.child
        try:
            open_still = self.child.feed()
            while (found := self.child.take()) is not None:
                self._take(*found)
        except BlockingIOError:
            raise
        except OSError:
            return False
        except (ValueError, TypeError) as error:
            self.failure = {"error": f"invalid data from the container's first process: {error}", "exit_code": 125}
            calls.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            return False
        return open_still

    def _take(self, message: Message, descriptors: list[int]) -> None:
        """Raises ValueError or TypeError for what the process never sends."""
        event = message.get("event")
        if event == "sockets" and len(descriptors) in (0, 2) and not self.dns:
            self.dns = descriptors
            self.life.settle()
        elif event == "terminal" and len(descriptors) == 1 and self.streams.tty and self.streams.master < 0:
            self.streams.use_terminal(descriptors[0])
            self.life.settle()
        elif descriptors:
            for fd in descriptors:
                os.close(fd)
            raise ValueError("a report with unexpected descriptors")
        elif event == "ready":
            self._ready()
        elif event == "failed":
            self.failure = {"error": str(message.get("error")), "exit_code": int(message.get("exit_code", 125))}

    def _ready(self) -> None:
        """Record the rest of a script. If it cannot continue, or only a fork can, the process is ended."""
        if self.life.state is not State.MADE:
            return  # `start` came earlier, as is possible with a fork
        following = State.READY
        try:
            self.failure = self._start.proceed() if self._start else None
        except Unscripted:
            following = State.REFUSED
        if self.failure or following is State.REFUSED:
            calls.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        self.life.enter(following)

    def start(self) -> None:
        """Let the process execute the program. An error becomes its failure, and ends it."""
        self.life.enter(State.STARTING)
        if self.failure is None and self.child:
            try:
                self.child.send({"event": "start"})
            except ConnectionError:
                pass  # it has just exited; its report is not read yet
            except OSError as error:
                self.fail(f"start the process: {error.strerror or error}")

    def fail(self, error: str) -> None:
        """Record why the program cannot run, and end the process."""
        self.failure = {"error": error, "exit_code": 125}
        self.signal(signal.SIGKILL)

    def report_closed(self) -> None:
        """The report stream has ended: the process has executed the program, or is exiting."""
        if self.child:
            self.child.close()
            self.child = None
        if self._start:
            executed = self._start.executed
            if self.life.state is State.MADE and self._start.broken:
                self.life.enter(State.REFUSED)
            elif self.life.state is not State.REFUSED:
                self.failure = self.failure or self._start.failure()
            self._start.close()
            self._start = None
        else:
            executed = has_executed(self.pid)
        if executed and self.failure is None and self.life.state is State.STARTING:
            self.life.enter(State.RUNNING)
        else:
            self.life.settle()

    def signal(self, number: int) -> None:
        """Raises OperationFailed."""
        self.killed = self.killed or number == signal.SIGKILL
        calls.pidfd_send_signal(self.pidfd, number)

    def end(self, status: int | None) -> Exit:
        """The process has exited (None: status unknown): write exit.json, close everything, return the record. The
        container enters ENDED once its keeper has handled the exit."""
        if status is None:
            status = calls.exit_status(self.pid, self.pidfd)
        if self.life.state is not State.RUNNING:
            self.failure = self.failure or {
                "error": early_exit.ended_early(status, self._log_mark),
                "exit_code": 125,
            }
        record = exit_record.make(self.bundle, self.pid, status)
        self.close()
        return record

    def close(self) -> None:
        """Close everything except the listeners, which may not have received all output yet."""
        self.streams.close()
        for fd in (*self.dns, self.pidfd):
            if fd >= 0:
                os.close(fd)
        self.dns.clear()
        self.pidfd = -1
        if self.child:
            self.child.close()
            self.child = None
        if self._start:
            self._start.close()
            self._start = None
