"""A command's handle of a process: an additional one (exec), or the container's own (attach)."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from typing import TYPE_CHECKING

from engine.container import state as files
from engine.errors import EngineError, KeeperAbsent, KeeperLost, NotFound, OperationFailed, WrongState
from engine.keeper.connection import Connection
from engine.kernel import calls
from engine.paths import BUNDLE_FILE, Roots
from engine.poll import readable
from engine.session.relay import Relay, wanted
from engine.spec.container import PIPE, ExecSpec
from engine.spec.state import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    import engine.keeper.bundle as keeper
    from engine.keeper.protocol import Message
    from engine.spec.state import ContainerRecord


def process_of(run_folder: str, spec: ExecSpec) -> keeper.ExecProcess:
    """The `process` of an exec request: the settings that differ from the container's own process."""
    import json

    try:
        with open(f"{run_folder}/{BUNDLE_FILE}", encoding="utf-8") as file:
            own = json.load(file)["process"]
    except FileNotFoundError as error:
        raise EngineError("the container is not running") from error
    merged = {**own["env"], **spec.environment}
    process: keeper.ExecProcess = {
        "args": list(spec.args),
        "tty": spec.tty,
        "console_size": spec.console_size,
        "env": {key: value for key, value in merged.items() if value is not None},
    }
    if spec.user:
        process["user"] = spec.user
    if spec.working_dir:
        process["cwd"] = spec.working_dir
    return process


def _connect(roots: Roots, record: ContainerRecord) -> Connection:
    try:
        return Connection.open(roots, record.group)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise OperationFailed.of("connect to", f"container {record.spec.name}", error) from error
        raise _unserved(record) from error


def _unserved(record: ContainerRecord) -> EngineError:
    """Why its keeper does not serve the container: it has exited, or its keeper was killed."""
    if record.state.status.alive and files.is_running(record.state):
        return KeeperAbsent(f"the keeper of container {record.spec.name} was killed")
    return WrongState(f"container {record.spec.name} is not running")


PATIENCE = 2.0
"""Seconds for copying the rest of the output after the process has exited while others still hold its streams."""


class _Exit:
    """The exit code of one process, from its keeper's events; `code_of` finds it in the event of that process's exit."""

    def __init__(self, keeper: Connection, code_of: Callable[[Message], int | None]) -> None:
        self._keeper, self._code_of = keeper, code_of
        self.code: int | None = None

    def take(self) -> bool:
        """Read the events that have arrived; returns whether the code is known."""
        for event in self._keeper.events():
            if self.code is None:
                self.code = self._code_of(event)
        return self.code is not None

    def read(self) -> None:
        """Wait for the keeper. Raises KeeperLost."""
        if not self._keeper.feed():
            raise KeeperLost("the keeper exited, and the exit code of the process is lost")

    def poll(self) -> int | None:
        """The code if it is known by now. Raises KeeperLost."""
        while not self.take() and readable(self._keeper.fileno(), timeout=0):
            self.read()
        return self.code


class ExecProcess:
    """A process started by `exec`; implements composer's `Process`. The descriptors in `stdio` do not enter the
    container; their content is copied during `wait`. The process has the null device in place of a stream that is -1,
    or of all with a terminal. For a stream that is PIPE, `pipes` has our end of the process's own pipe."""

    def __init__(
        self, roots: Roots, group: str, container_id: str, spec: ExecSpec, stdio: tuple[int, int, int]
    ) -> None:
        record = files.read(roots, group, container_id)
        if record is None:
            raise NotFound("container", container_id[:12])
        if record.state.status is Status.PAUSED:
            raise WrongState(f"container {record.spec.name} is paused", hint="Unpause it first.")
        if not record.state.status.can_exec:
            raise WrongState(f"container {record.spec.name} is not running")
        process = process_of(roots.running(group, container_id), spec)
        self._keeper = _connect(roots, record)
        streams = [] if spec.tty else wanted(stdio)
        try:
            _, (self._pidfd, *others) = self._keeper.ask(
                "exec", id=container_id, process=process, tty=spec.tty, privileged=spec.privileged, streams=streams
            )
        except WrongState as error:
            self._keeper.close()
            raise _unserved(record) from error
        except EngineError:
            self._keeper.close()
            raise
        self._terminal = others[0] if spec.tty else None
        pipes = {} if spec.tty else {numbers[0]: fd for numbers, fd in zip(streams, others, strict=True)}
        self.pipes = {number: pipes.pop(number) for number in list(pipes) if stdio[number] == PIPE}
        self._relay = Relay(stdio, pipes)
        self._exit = _Exit(self._keeper, lambda event: event["exit_code"] if event.get("event") == "exec" else None)

    @property
    def stream(self) -> int | None:
        return self._terminal

    def fileno(self) -> int:
        return self._keeper.fileno()

    def resize(self, rows: int, columns: int) -> None:
        if self._terminal is not None:
            import fcntl
            import struct
            import termios

            with contextlib.suppress(OSError):
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def signal(self, number: int) -> None:
        if self._pidfd >= 0 and self._exit.code is None:
            with contextlib.suppress(EngineError):
                calls.pidfd_send_signal(self._pidfd, number)

    def poll(self) -> int | None:
        return self._exit.poll()

    def wait(self) -> int:
        while not self._exit.take():
            if self._relay.turn(self._keeper.fileno(), None):
                self._exit.read()
        assert self._exit.code is not None
        deadline = time.monotonic() + PATIENCE
        while self._relay.reading and (left := deadline - time.monotonic()) > 0:
            self._relay.turn(-1, left)
        return self._exit.code

    def close(self) -> None:
        self._keeper.close()
        self._relay.close()
        for fd in (self._pidfd, self._terminal):
            if fd is not None and fd >= 0:
                os.close(fd)
        self._pidfd, self._terminal = -1, None


class AttachedProcess:
    """The container's first process. `stream` is a socket that carries its pty's bytes, or its input and framed output
    (Docker's attach stream)."""

    def __init__(self, roots: Roots, group: str, container_id: str, *, stdin: bool = True) -> None:
        self._id = container_id
        record = files.read(roots, group, container_id)
        if record is None:
            raise NotFound("container", container_id[:12])
        if not record.state.status.alive and files.read_starting(roots.container(group, container_id)) is None:
            raise WrongState(f"container {record.spec.name} is not running")
        self.tty = record.spec.tty
        self._keeper = _connect(roots, record)
        try:
            reads = stdin and (record.spec.stdin_open or self.tty)
            _, descriptors = self._keeper.ask("attach", id=container_id, stdin=reads)
        except WrongState as error:
            self._keeper.close()
            raise _unserved(record) from error
        except EngineError:
            self._keeper.close()
            raise
        self._stream = socket.socket(fileno=descriptors[0])
        self.pipes: dict[int, int] = {}
        self._exit = _Exit(self._keeper, self._code_of)

    @property
    def stream(self) -> int | None:
        return self._stream.fileno()

    def fileno(self) -> int:
        return self._keeper.fileno()

    def resize(self, rows: int, columns: int) -> None:
        self._quietly("resize", rows=rows, columns=columns)

    def signal(self, number: int) -> None:
        self._quietly("signal", signal=number)

    def poll(self) -> int | None:
        return self._exit.poll()

    def wait(self) -> int:
        while not self._exit.take():
            self._exit.read()
        assert self._exit.code is not None
        return self._exit.code

    def _code_of(self, event: Message) -> int | None:
        if event.get("event") == "exit" and event["id"] == self._id:
            return int(event["exit"]["exit_code"])
        return None

    def _quietly(self, do: str, **fields: int) -> None:
        """A request without an answer, because it comes from a signal handler, possibly during `wait`."""
        if self._exit.code is None:
            with contextlib.suppress(OSError):
                self._keeper.notify(do, id=self._id, **fields)

    def close(self) -> None:
        self._keeper.close()
        self._stream.close()
