"""A command's handle on a process: an additional one (exec), or the container's own (attach)."""

from __future__ import annotations

import contextlib
import os
import socket
import time

from engine import control
from engine.container import state as files
from engine.errors import EngineError, KeeperLost, NotFound, StartFailed, WrongState
from engine.keeper.protocol import VERSION, Channel, Message
from engine.kernel import calls
from engine.paths import Roots
from engine.session.relay import Relay, wanted
from engine.spec.container import ExecSpec
from engine.spec.state import Status


def process_of(run_folder: str, spec: ExecSpec) -> dict[str, object]:
    """The `process` of an exec request: what the specification changes of the container's own process."""
    import json

    try:
        with open(f"{run_folder}/bundle.json", encoding="utf-8") as file:
            own = json.load(file)["process"]
    except FileNotFoundError as error:
        raise EngineError("the container is not running") from error
    merged = {**own["env"], **spec.environment}
    process: dict[str, object] = {
        "args": list(spec.args),
        "tty": spec.tty,
        "console_size": list(spec.console_size),
        "env": {key: value for key, value in merged.items() if value is not None},
    }
    if spec.user:
        process["user"] = spec.user
    if spec.working_dir:
        process["cwd"] = spec.working_dir
    return process


def _connect(roots: Roots, group: str, container_id: str) -> Channel:
    try:
        return Channel(control.connect(roots.keeper_socket(group), VERSION))
    except OSError as error:
        raise WrongState(f"container {container_id[:12]} is not running") from error


def _ask(channel: Channel, message: Message, descriptors: tuple[int, ...] = ()) -> tuple[Message, list[int]]:
    channel.send({"n": 1, **message}, descriptors)
    while (found := channel.receive()) is not None:
        answer, received = found
        if answer.get("re") == 1:
            if "exit_code" in answer:
                raise StartFailed(answer["error"], exit_code=answer["exit_code"])
            if "error" in answer:
                raise EngineError(answer["error"])
            return answer, received
    raise KeeperLost("the keeper has exited")


PATIENCE = 2.0
"""Seconds in which what is left of the output is copied when the process has ended but others still hold its streams."""


class ExecProcess:
    """A process started by `exec`; implements composer's `Process`. What `stdio` names is copied while somebody waits, and does
    not enter the container; the process has the null device in place of a stream that is -1, or of all with a terminal."""

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
        self._channel = _connect(roots, group, container_id)
        streams = [] if spec.tty else wanted(stdio)
        request = {
            "do": "exec",
            "id": container_id,
            "process": process,
            "tty": spec.tty,
            "privileged": spec.privileged,
            "streams": streams,
        }
        try:
            _, (self._pidfd, *others) = _ask(self._channel, request)
        except EngineError:
            self._channel.close()
            raise
        self._terminal = others[0] if spec.tty else None
        pipes = {} if spec.tty else {numbers[0]: fd for numbers, fd in zip(streams, others, strict=True)}
        self._relay = Relay(stdio, pipes)
        self._code: int | None = None

    @property
    def stream(self) -> int | None:
        return self._terminal

    def fileno(self) -> int:
        return self._channel.fileno()

    def resize(self, rows: int, columns: int) -> None:
        if self._terminal is not None:
            import fcntl
            import struct
            import termios

            with contextlib.suppress(OSError):
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def signal(self, number: int) -> None:
        if self._pidfd >= 0 and self._code is None:
            with contextlib.suppress(EngineError):
                calls.pidfd_send_signal(self._pidfd, number)

    def wait(self) -> int:
        self._take()
        while self._code is None:
            if self._relay.turn(self._channel.fileno(), None):
                if not self._channel.feed():
                    raise KeeperLost("the keeper exited, and the exit code of the process is lost")
                self._take()
        deadline = time.monotonic() + PATIENCE
        while self._relay.reading and (left := deadline - time.monotonic()) > 0:
            self._relay.turn(-1, left)
        return self._code

    def _take(self) -> None:
        while (found := self._channel.take()) is not None:
            if found[0].get("event") == "exec":
                self._code = int(found[0]["exit_code"])

    def close(self) -> None:
        self._channel.close()
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
        self._code: int | None = None
        self._channel = _connect(roots, group, container_id)
        request = {
            "do": "attach",
            "id": container_id,
            "stdin": stdin and (record.spec.stdin_open or self.tty),
        }
        try:
            _, descriptors = _ask(self._channel, request)
        except EngineError:
            self._channel.close()
            raise
        self._stream = socket.socket(fileno=descriptors[0])

    @property
    def stream(self) -> int | None:
        return self._stream.fileno()

    def fileno(self) -> int:
        return self._channel.fileno()

    def resize(self, rows: int, columns: int) -> None:
        self._quietly({"do": "resize", "id": self._id, "rows": rows, "columns": columns})

    def signal(self, number: int) -> None:
        self._quietly({"do": "signal", "id": self._id, "signal": number})

    def wait(self) -> int:
        while self._code is None:
            found = self._channel.receive()
            if found is None:
                raise KeeperLost("the keeper exited, and the exit code of the process is lost")
            self._take(found[0])
        return self._code

    def _quietly(self, request: Message) -> None:
        """A request that wants no answer: it comes from a signal's handler, maybe in the midst of `wait`."""
        if self._code is None:
            with contextlib.suppress(OSError):
                self._channel.send({"n": 0, **request})

    def _take(self, message: Message) -> None:
        if message.get("event") == "exit" and message["id"] == self._id:
            self._code = int(message["exit"]["exit_code"])

    def close(self) -> None:
        self._channel.close()
        self._stream.close()
