"""One container as its keeper knows it: the process, its output, who listens to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Sequence

from engine.keeper import forking, last_words, pipes
from engine.keeper.child import namespaces, setup
from engine.keeper.listener import Listener
from engine.keeper.output import Outputs, Stream, Terminal
from engine.keeper.protocol import Channel
from engine.keeper.script.script import Unscripted
from engine.keeper.script.start import Start
from engine.keeper.stdin import Input
from engine.kernel import calls, flags
from engine.kernel.proc import has_executed
from engine.log.log import Log
from engine.paths import private

TYPE_CHECKING = False  # of typing, which a keeper need not load
if TYPE_CHECKING:
    from typing import Any

PATIENCE = 100
"""How often the last output is tried to be recorded."""


class Container:
    """Made by `create` or `adopt`. `pid` is ours to wait for unless `adopted`, when a pidfd tells of its end.

    Raises OSError when its log cannot be opened. `rotated` is told of log files that wait for being compressed.
    """

    def __init__(
        self,
        container_id: str,
        bundle: dict[str, Any],
        outputs: Outputs,
        rotated: Callable[[str], None],
        input_waits: Callable[[bool], None],
    ) -> None:
        self.id, self.bundle = container_id, bundle
        self._outputs = outputs
        self.pid = self.pidfd = 0
        self.pid_start = 0
        self._log_mark = -1
        self.adopted = False
        self.child: Channel | None = None
        self.dns: list[int] = []
        self.master = -1
        self.outputs: dict[int, Stream] = {}
        self.listeners: list[Listener] = []
        self.input = Input(input_waits)
        self.on_terminal: list[Callable[[], None]] = []
        self.failure: dict[str, Any] | None = None
        self.on_started: Callable[[dict[str, Any] | None], None] | None = None
        self.on_sockets: Callable[..., None] | None = None
        self.on_made: Callable[[], None] | None = None
        self.on_failure: list[Callable[[dict[str, Any]], None]] = []
        self.start: Start | None = None
        self.unscripted = False
        self.killed = False
        self.executed = False
        self._patience = PATIENCE
        self.log = Log(bundle["log"], rotated) if bundle["log"]["format"] else None

    @property
    def tty(self) -> bool:
        return bool(self.bundle["process"]["tty"])

    @property
    def takes_input(self) -> bool:
        return bool(self.bundle["process"]["stdin"]) or self.tty

    @property
    def stdin_once(self) -> bool:
        """Whether the program's input ends with that of the first who is attached."""
        return bool(self.bundle["process"].get("stdin_once")) and not self.tty

    @property
    def folder(self) -> str:
        return str(self.bundle["run_folder"])

    def fork(self, *, scripted: bool = True) -> None:
        """Make the child in its new namespaces, by a script (`start`) where one will do. Raises OSError or EngineError; then
        nothing is left but pipes of ours."""
        ends = {} if self.tty else self._open_ends()
        self._log_mark = last_words.mark()
        try:
            self.pid, self.pidfd, self.child = (scripted and self._begin(ends)) or self._fork(ends)
        finally:
            for fd in ends.values():
                os.close(fd)
        self.pid_start = calls.start_time(self.pid)
        self.child.sock.setblocking(False)

    def _begin(self, ends: dict[str, int]) -> tuple[int, int, Channel] | None:
        """By a script: pid, pidfd and what it tells us by; None where a fork can, or has the better words for it. That one gets
        a channel of its own: a process may have been made, and have said something, before it turned out."""
        ours, theirs = setup.channel_pair()
        try:
            self.start = Start(self.bundle, ours, theirs, ends)
        except Exception:
            ours.close()
            return None
        finally:
            theirs.close()
        return self.start.pid, self.start.pidfd, ours

    def _fork(self, ends: dict[str, int]) -> tuple[int, int, Channel]:
        ours, theirs = setup.channel_pair()
        try:
            if self.bundle["namespaces"].get("user", "host") != "host":
                pid, pidfd = self._enter(ours, theirs, ends)
            else:
                pid, pidfd = self._clone()
                if pid == 0:
                    with setup.no_return():
                        ours.close()
                        self._use(ends)
                        setup.run(self.bundle, theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return pid, pidfd, ours

    def proceed(self) -> None:
        """It is ready. Where it cannot go on, or only a fork can, the process ends."""
        try:
            self.failure = self.start.proceed() if self.start else None
        except Unscripted:
            self.unscripted = True
        if self.failure or self.unscripted:
            calls.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def hung_up(self) -> None:
        """All has been heard of the start: the process is the program now, or it ends."""
        if self.child:
            self.child.close()
            self.child = None
        if self.start:
            self.unscripted = self.unscripted or self.start.broken
            if not self.unscripted:
                self.failure = self.failure or self.start.failure()
            executed = self.start.executed
            self.start.close()
            self.start = None
        else:
            executed = has_executed(self.pid)
        self.executed = executed and self.failure is None and not self.unscripted

    def again(self) -> None:
        """By a fork, what a script could not do, when its process has ended: until then its mounts are there. Raises as
        `fork`; then there is no other process."""
        self.unscripted = False
        for fd in (*self.dns, self.pidfd):
            os.close(fd)
        self.dns, self.pidfd = [], -1
        self.fork(scripted=False)

    def never_ran(self, status: int | None) -> dict[str, Any]:
        """Why a process that has ended with this wait status did not run the program."""
        return self.failure or {"error": last_words.ended_early(status, self._log_mark), "exit_code": 125}

    def signal(self, number: int) -> None:
        """Raises OperationFailed."""
        self.killed = self.killed or number == signal.SIGKILL
        calls.pidfd_send_signal(self.pidfd, number)

    def _clone(self) -> tuple[int, int]:
        """Fork into the new namespaces, into another container's where the pid namespace is shared."""
        kinds = self.bundle["namespaces"]
        if not kinds["pid"].startswith("/"):
            return calls.clone(namespaces.bits(kinds))
        theirs = namespaces.open_namespace(kinds["pid"])
        home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        try:
            calls.setns(theirs, flags.CLONE["pid"], subject=kinds["pid"])
            try:
                pid, pidfd = calls.clone(namespaces.bits(kinds))
            except BaseException:
                calls.setns(home, flags.CLONE["pid"])
                raise
            if pid:  # the child is where it shall be, and could not go back
                calls.setns(home, flags.CLONE["pid"])
            return pid, pidfd
        finally:
            os.close(home)
            os.close(theirs)

    def _enter(self, ours: Channel, theirs: Channel, ends: dict[str, int]) -> tuple[int, int]:
        """Fork a process that enters the user namespace and leaves us the container's as our child."""

        def child(reporting: int) -> None:
            self._use(ends)
            setup.enter(self.bundle, theirs, reporting)

        return forking.spawn_via_helper(child, ours, theirs)

    @staticmethod
    def _use(ends: dict[str, int]) -> None:
        """The child's own: standard streams."""
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for number, name in enumerate(pipes.NAMES):
            os.dup2(ends.get(name, null), number)

    def _open_ends(self) -> dict[str, int]:
        """The process's ends of its standard streams, and ours unless there are some from a first try."""
        if not self.outputs:
            ours = pipes.make(name for name in pipes.NAMES if name != "stdin" or self.bundle["process"]["stdin"])
            pipes.record(self.folder, ours)
            self._take_streams(ours)
        known = {stream.name: fd for fd, stream in self.outputs.items()}
        if self.input.fd >= 0:
            known["stdin"] = self.input.fd
        return {name: pipes.theirs(name, fd, once=name == "stdin" and self.stdin_once) for name, fd in known.items()}

    def adopt_streams(self, given: Sequence[int]) -> None:
        """Those of a process that another keeper started; `given` are stdout and stderr, if somebody has kept them."""
        found = pipes.find(self.folder, pipes.processes(self.bundle["cgroup_procs"], self.pid))
        for name, fd in zip(("stdout", "stderr"), given, strict=False):
            if name in found:
                os.close(found[name])
            found[name] = os.dup(fd)
        self._take_streams(found)

    def _take_streams(self, ours: dict[str, int]) -> None:
        for name, fd in ours.items():
            if name == "stdin":
                self.input.open(fd)
            else:
                self._take_on(Stream(fd, name, self.log, self._tell, adopted=self.adopted))

    @property
    def kept_streams(self) -> tuple[int, ...]:
        """What somebody else should hold, lest it be lost with us: the terminal's master, or our ends of stdout and stderr."""
        return (self.master,) if self.tty and self.master >= 0 else tuple(self.outputs)

    def use_terminal(self, master: int) -> None:
        os.set_blocking(master, False)
        self.master = master
        self.input.open(os.dup(master))
        self._take_on(Terminal(master, self.log, self._tell))

    def tell_made(self) -> None:
        """There is a process, or it has ended: whoever asked for it may go on."""
        made, self.on_made = self.on_made, None
        if made:
            made()

    def tell_sockets(self) -> None:
        """Its DNS sockets are open, or never will be."""
        waiting, self.on_sockets = self.on_sockets, None
        if waiting:
            waiting({}, tuple(self.dns))

    def tell_terminal(self) -> None:
        """There is a terminal, or never will be: who waits to attach can."""
        waiting, self.on_terminal = self.on_terminal, []
        for attach in waiting:
            attach()

    def _take_on(self, stream: Stream) -> None:
        self.outputs[stream.fd] = stream
        self._outputs.add(stream)

    def attach(self, listener: Listener) -> None:
        self.listeners.append(listener)

    def detach(self, listener: Listener) -> None:
        if listener in self.listeners:
            self.listeners.remove(listener)
        listener.close()
        self.relieve()

    def relieve(self) -> None:
        """Read on, unless somebody who is attached still has too much to take."""
        if not any(listener.full for listener in self.listeners):
            for fd in self.outputs:
                self._outputs.resume(fd)

    def _tell(self, stream: str, data: bytes) -> None:
        for listener in list(self.listeners):
            listener.tell(stream, data)
            if listener.gone:
                self.detach(listener)
            elif listener.full:
                for fd in self.outputs:
                    self._outputs.hold(fd)

    def finish(self) -> bool:
        """Record what is left of the output. False: there is no memory for it now, so ask again."""
        self._patience -= 1
        try:
            for stream in self.outputs.values():
                stream.finish(self._outputs.scratch)
        except MemoryError:
            return self._patience <= 0
        except OSError:
            pass  # the end is to be told, whatever becomes of the last words
        return True

    def ended(self, status: int | None) -> dict[str, Any]:
        """The process has ended (None: nobody can know how): write exit.json, close everything, give the record."""
        if status is None:
            status = calls.exit_status(self.pid, self.pidfd)
        code = 255 if status is None else os.waitstatus_to_exitcode(status)
        record = {
            "exit_code": code if code >= 0 else 128 - code,
            "finished_at": time.time(),
            "oom_killed": self._oom_killed(),
            "pid": self.pid,
        }
        with contextlib.suppress(OSError):  # a full disc: who watches us hears of it all the same
            write_atomically(self.bundle["exit_file"], json.dumps(record))
        self.close()
        return record

    def _oom_killed(self) -> bool:
        """Whether any process of the container was killed for want of memory, as Docker tells it."""
        for path in self.bundle.get("oom_files", ()):
            try:
                with open(path, encoding="utf-8") as file:
                    for line in file:
                        word, _, number = line.partition(" ")
                        if word == "oom_kill" and int(number) > 0:
                            return True
            except (OSError, ValueError):
                continue
        return False

    def close(self) -> None:
        """Give up everything but the listeners, who may still have output to take."""
        for fd in self.outputs:
            self._outputs.remove(fd)
        self.input.close()
        for fd in {*self.outputs, *self.dns, self.pidfd}:
            if fd > 0:
                os.close(fd)
        self.outputs.clear()
        self.dns.clear()
        self.pidfd = self.master = -1
        if self.log:
            self.log.close()
            self.log = None
        if self.child:
            self.child.close()
            self.child = None
        if self.start:
            self.start.close()
            self.start = None


def write_atomically(path: str, text: str) -> None:
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8", opener=private) as file:
        file.write(text)
    os.replace(temporary, path)
