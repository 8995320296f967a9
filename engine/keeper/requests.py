"""The requests of a keeper's clients: one function for each, and the table of them (protocol.py has the messages)."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from errno import ESRCH

from engine.errors import EngineError, StartFailed, WrongState
from engine.keeper import execution
from engine.keeper.child import kernel_settings
from engine.keeper.keeper import Keeper
from engine.keeper.life import State
from engine.keeper.protocol import Message
from engine.keeper.server import Client
from engine.kernel import calls

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from engine.keeper import messages


class Request:
    """`fds` came with the message; they are closed when its function returns."""

    def __init__(self, keeper: Keeper, client: Client, message: Message, fds: list[int]) -> None:
        self._keeper, self.client, self.message, self.fds = keeper, client, message, fds
        self.number: int = message.get("n", 0)

    def answer(self, reply: Mapping[str, object], descriptors: tuple[int, ...] = ()) -> None:
        """Answer; the caller keeps the descriptors. A request without a number expects no answer."""
        if self.number:
            self._keeper.server.send(self.client, {"re": self.number, **reply}, descriptors)

    def attempt(self, action: Callable[[], None]) -> None:
        """Run an action for the request; an error becomes its answer. A malformed request must not stop the keeper."""
        try:
            action()
        except StartFailed as error:
            self.answer({"error": str(error), "exit_code": error.exit_code})
        except WrongState as error:
            self.answer({"error": str(error), "errno": ESRCH})
        except EngineError as error:
            self.answer({"error": str(error), "errno": getattr(error, "errno", 0)})
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            self.answer({"error": text, "errno": getattr(error, "errno", 0) or 0})


def handle(keeper: Keeper, client: Client, message: Message, fds: list[int]) -> None:
    """Execute a request, and close its descriptors."""

    def carry_out() -> None:
        function = _FUNCTIONS.get(str(message.get("do", "")))
        if function is None:
            raise EngineError(f"the keeper does not know the request {message.get('do')!r}")
        function(keeper, message, request)

    request = Request(keeper, client, message, fds)
    try:
        request.attempt(carry_out)
    finally:
        for fd in fds:
            os.close(fd)


# ── starting a container ──────────────────────────────────────────────────────────────────────────────────────────


def _create(keeper: Keeper, message: messages.Create, request: Request) -> None:
    if message["id"] in keeper.containers.alive:
        raise EngineError(f"container {message['id'][:12]} is already running")
    container = keeper.containers.open(message["id"], message["bundle"])
    try:
        container.make()
    except BaseException:
        container.close()
        raise
    keeper.containers.add(container)
    keeper.reaper.watch(container)

    def answer() -> None:
        kept = () if container.streams.tty else container.streams.kept
        made: messages.Made = {"pid": container.pid, "pid_start": container.pid_start}
        request.answer(made, kept)

    container.life.when(container.is_made, answer)


def _start(keeper: Keeper, message: messages.ById, request: Request) -> None:
    container = keeper.containers.find(message["id"])
    if not container.is_made():
        raise EngineError(f"container {container.id[:12]} is still being created")
    if container.life.state not in (State.MADE, State.READY):
        raise EngineError(f"container {container.id[:12]} has already been started")
    if container.failure is None:
        try:
            kernel_settings.limit(container.bundle["process"], container.pid)
        except EngineError as error:
            container.fail(str(error))
    container.start()
    # A failed start is answered once nothing more is written to its folder.
    container.life.when(
        container.is_decided,
        lambda: request.answer({"pid": container.pid} if container.executed else container.failure or {}),
    )


def _failure(keeper: Keeper, message: messages.ById, request: Request) -> None:
    container = keeper.containers.alive.get(message["id"])
    if container is None:
        request.answer(keeper.containers.failed.get(message["id"]) or {})
        return
    while keeper.reaper.read(container):
        pass
    container.life.when(container.is_explained, lambda: request.answer(container.failure or {}))


def _adopt(keeper: Keeper, message: messages.Adopt, request: Request) -> None:
    """Take over a container that a dead keeper left running."""
    if message["id"] in keeper.containers.alive:
        request.answer({"pid": keeper.containers.alive[message["id"]].pid})
        return
    pid, pid_start = message["pid"], message["pid_start"]
    pidfd = os.dup(request.fds[0]) if request.fds else calls.pidfd_open(pid)
    try:
        if not request.fds and calls.start_time(pid) != pid_start:
            raise EngineError(f"process {pid} has exited, and its pid was reused")
        # Adopt it even without a log.
        container = keeper.containers.open(message["id"], message["bundle"], log_needed=False)
    except BaseException:
        os.close(pidfd)
        raise
    try:
        container.adopt(pid, pid_start, pidfd, request.fds[1:])
    except BaseException:
        container.close()
        raise
    keeper.containers.add(container)
    keeper.reaper.watch(container)
    request.answer({"pid": container.pid})


# ── existing containers ────────────────────────────────────────────────────────────────────────────────────


def _signal(keeper: Keeper, message: messages.Signal, request: Request) -> None:
    keeper.containers.find(message["id"]).signal(message["signal"])
    request.answer({})


def _sockets(keeper: Keeper, message: messages.ById, request: Request) -> None:
    container = keeper.containers.find(message["id"])
    container.life.when(container.has_sockets, lambda: request.answer({}, tuple(container.dns)))


def _terminal(keeper: Keeper, message: messages.ById, request: Request) -> None:
    container = keeper.containers.find(message["id"])
    container.life.when(container.has_terminal, lambda: request.answer({}, container.streams.kept))


def _resize(keeper: Keeper, message: messages.Resize, request: Request) -> None:
    import fcntl
    import struct
    import termios

    master = keeper.containers.find(message["id"]).streams.master
    if master >= 0:
        size = struct.pack("4H", message["rows"], message["columns"], 0, 0)
        fcntl.ioctl(master, termios.TIOCSWINSZ, size)
    request.answer({})


def _attach(keeper: Keeper, message: messages.Attach, request: Request) -> None:
    def attach() -> None:
        streams = keeper.containers.find(container.id).streams  # it may have exited meanwhile
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        request.client.attached.add(container.id)
        keeper.attachments.attach(streams, ours, stdin=bool(message.get("stdin")))
        request.answer({}, (theirs.fileno(),))
        theirs.close()

    container = keeper.containers.find(message["id"])
    container.life.when(container.has_terminal, lambda: request.attempt(attach))


def _exec(keeper: Keeper, message: messages.Exec, request: Request) -> None:
    number = message["n"]

    def ended(code: int) -> None:
        event: messages.ExecEvent = {"event": "exec", "n": number, "exit_code": code}
        keeper.server.send(request.client, event)

    container = keeper.containers.find(message["id"])
    keeper.reaper.watch_exec(execution.fork(container, message, request.answer, ended))


# ── the keeper itself ────────────────────────────────────────────────────────────────────────────────────────────


def _list(keeper: Keeper, message: messages.Plain, request: Request) -> None:
    found: list[messages.Listed] = [
        {"id": c.id, "pid": c.pid, "pid_start": c.pid_start, "executed": c.executed, "adopted": c.adopted}
        for c in keeper.containers.alive.values()
    ]
    request.answer({"containers": found})


def _watch(keeper: Keeper, message: messages.Plain, request: Request) -> None:
    request.client.watching = True
    request.answer({})


def _supervise(keeper: Keeper, message: messages.Supervise, request: Request) -> None:
    argv, environment = message["argv"], message["env"]
    if not argv or not all(isinstance(word, str) for word in (*argv, *environment, *environment.values())):
        raise EngineError("supervise needs a command line and variables")
    keeper.supervisor.know(argv, environment)
    request.client.supervises = True
    request.answer({})


def _hold(keeper: Keeper, message: messages.Hold, request: Request) -> None:
    keeper.held = bool(message["wanted"])
    request.answer({})


def _goodbye(keeper: Keeper, message: messages.Plain, request: Request) -> None:
    request.client.supervises = keeper.held = False
    request.answer({})


def _leave(keeper: Keeper, message: messages.Plain, request: Request) -> None:
    if keeper.containers.alive:
        raise EngineError(f"{len(keeper.containers.alive)} containers are alive")
    keeper.leaving = True
    request.answer({})


def _own(keeper: Keeper, message: messages.Plain, request: Request) -> None:
    request.client.owns = True
    request.answer({})


_FUNCTIONS: dict[str, Callable[[Keeper, Any, Request], None]] = {
    "create": _create,
    "start": _start,
    "failure": _failure,
    "adopt": _adopt,
    "signal": _signal,
    "sockets": _sockets,
    "terminal": _terminal,
    "resize": _resize,
    "attach": _attach,
    "exec": _exec,
    "list": _list,
    "watch": _watch,
    "supervise": _supervise,
    "hold": _hold,
    "goodbye": _goodbye,
    "leave": _leave,
    "own": _own,
}
