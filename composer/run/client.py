"""The command's side: find the project's supervisor or start one, send a request, yield its events.

If the supervisor dies, the client starts another and repeats the request; what was already done needs no repeating.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from signal import SIGCONT

from composer.release import VERSION
from composer.run.launch import Launch, SupervisorLost
from engine import control
from engine.errors import KeeperAbsent, OperationFailed, OtherVersion
from engine.paths import SUPERVISOR_LOG, Roots

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from typing import TypeVar

    from composer.run.early_fork import EarlyFork
    from composer.run.port import Engine
    from composer.run.protocol import Event, Request

    Opened = TypeVar("Opened")

ATTEMPTS = 4
"""Limit of attempts of a request if supervisors die during it."""

PATIENCE = 2.0
"""Seconds of silence before we check whether the supervisor or the keeper is stopped (SIGSTOP); the intervals then
grow."""

KEEPER_PAUSES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between attempts to use a keeper that the supervisor is about to start."""

ENDING = ("down", "stop", "kill", "rm")
"""Actions that a stopped keeper must not hold up."""


class Client:
    """A client of one project's supervisor. It starts a supervisor with `environ`, or in a fork if `open_engine` is given,
    for which `early` will do if there is one."""

    def __init__(
        self,
        roots: Roots,
        project: str,
        environ: Mapping[str, str],
        open_engine: Callable[[], Engine] | None = None,
        early: EarlyFork | None = None,
    ) -> None:
        self._roots, self._project, self._environ = roots, project, environ
        self._open_engine, self._early = open_engine, early
        self._path = roots.supervisor_socket(project)
        self._hint = f"See {os.path.dirname(self._path)}/{SUPERVISOR_LOG}."
        self._starting: Launch | None = None

    def prepare(self) -> None:
        """Start a supervisor if there is none, without waiting for it, so that it gets ready while the command does other
        work. Call it early, before the process has grown."""
        early, self._early = self._early, None
        if self._starting is None and not os.path.exists(self._path):
            try:
                self._starting = Launch(self._roots, self._project, self._environ, self._open_engine, early)
            except OperationFailed:
                pass  # the error is reported when the supervisor is needed
        elif early is not None:
            early.dismiss()

    def listens(self) -> bool:
        """Whether a supervisor accepts connections."""
        return control.listens(self._path)

    def serves(self, report: Callable[[str], None]) -> bool:
        """Whether a supervisor is running. Waits until one that has just started has adopted running containers. `report` is
        called with a line for the reader if that is held up."""
        try:
            with control.connect(self._path) as sock:
                self._until_it_serves(sock, report)
        except OSError:
            return False
        return True

    def perform(self, request: Request, *, ready: Callable[[str], None] | None = None) -> Iterator[Event]:
        """Yield the events of the request, End last. `ready` is called with the id of a container to attach to. Raises
        SupervisorLost when supervisors keep dying before the end, OperationFailed when none can be started."""
        from composer.run import protocol  # a command that finds nothing to do sends no request

        for attempt in range(ATTEMPTS):
            with self._connect(replace=not attempt) as sock:
                try:
                    sock.sendall(protocol.frame(request))
                except OSError:
                    continue
                for event in self._events(sock, ready, continues=request.options.action in ENDING):
                    yield event
                    if isinstance(event, protocol.End):
                        if event.last:
                            _until_hung_up(sock)
                        return
        raise SupervisorLost(
            f"the supervisor of project {self._project} died {ATTEMPTS} times during this request", hint=self._hint
        )

    def open(self) -> socket.socket:
        """Connect to the supervisor, and start one if there is none. Raises SupervisorLost, OperationFailed."""
        return self._connect(replace=True)

    def _events(self, sock: socket.socket, ready: Callable[[str], None] | None, *, continues: bool) -> Iterator[Event]:
        """Yield events until the supervisor hangs up. `continues`: a stopped keeper is resumed."""
        from composer.run import protocol

        frames = protocol.Frames()
        for data in self._received(sock, continues=continues):
            if isinstance(data, str):
                yield protocol.Note(data)
                continue
            for one in frames.feed(data):
                event = protocol.event_of(one)
                if isinstance(event, protocol.Ready):
                    if ready is not None:
                        ready(event.container_id)
                    sock.sendall(protocol.frame(protocol.Go(event.container_id)))
                else:
                    yield event

    def _until_it_serves(self, sock: socket.socket, report: Callable[[str], None]) -> None:
        """Wait until the supervisor has adopted running containers: only then does it hang up on a command without a
        request."""
        sock.shutdown(socket.SHUT_WR)
        for data in self._received(sock, continues=False):
            if isinstance(data, str):
                report(data)

    def _received(self, sock: socket.socket, *, continues: bool) -> Iterator[bytes | str]:
        """Yield what arrives until the supervisor hangs up, and once, as a string, the reason for a silence."""
        pause: float | None = PATIENCE
        while True:
            sock.settimeout(pause)
            try:
                data = sock.recv(65536)
            except TimeoutError:
                note = self._reason(sock, continues=continues)
                if note:
                    yield note
                pause = None if note or pause is None else min(2 * pause, 60.0)
                continue
            except ConnectionError:
                return
            if not data:
                return
            yield data

    def _reason(self, sock: socket.socket, *, continues: bool) -> str:
        """The reason for the silence if the supervisor or the keeper was stopped (SIGSTOP), and its remedy, done or
        proposed."""
        if control.peer_is_stopped(sock):
            return f"The supervisor of this project is stopped. To resume it: kill -CONT {control.peer(sock)[0]}"
        pid = control.stopped(self._roots.keeper_socket(self._project))
        if not pid:
            return ""
        if continues:
            try:
                os.kill(pid, SIGCONT)
            except OSError:
                continues = False
        if continues:
            return f"The keeper of this project (pid {pid}) was stopped. It was resumed, because only it can do this."
        return f"The keeper of this project is stopped. To resume it: kill -CONT {pid}"

    def renew(self, report: Callable[[str], None]) -> None:
        """Replace the supervisor, of whichever release, by one of this release, and wait until it has adopted running
        containers. `report` is called with a line for the reader if that is held up. Raises SupervisorLost,
        OperationFailed."""
        control.end(self._path)
        with self._connect(replace=True) as sock:
            self._until_it_serves(sock, report)

    def with_keeper(self, opens: Callable[[], Opened], report: Callable[[str], None]) -> Opened:
        """The result of `opens`, which needs a keeper of this release that serves a running container. The group's
        supervisor replaces an older keeper when it starts, and one that was killed as soon as it notices. `report` as
        for `renew`. Raises KeeperAbsent after several attempts, SupervisorLost, OperationFailed, and what `opens` raises."""
        for pause in KEEPER_PAUSES:
            try:
                return opens()
            except OtherVersion:
                self.renew(report)
            except KeeperAbsent:
                with self.open() as sock:
                    self._until_it_serves(sock, report)
                time.sleep(pause)
        return opens()

    def _connect(self, *, replace: bool) -> socket.socket:
        """Connect. With `replace`, first replace a supervisor of another release, which would not understand our messages.
        Only the first connection of a command does so: a supervisor that appears later is newer than the command."""
        lost = SupervisorLost(
            f"the supervisor of project {self._project} cannot be reached",
            hint=self._hint,
        )
        for attempt in range(ATTEMPTS):
            if attempt:
                self._starting = Launch(self._roots, self._project, self._environ)
            starting, self._starting = self._starting, None
            try:
                if starting is not None:
                    starting.wait()
                return control.connect(self._path, VERSION)
            except OtherVersion:
                if not replace:
                    raise
                control.end(self._path)
            except SupervisorLost as error:  # it was killed during its start, or cannot start
                lost = error
            except OSError:
                pass
            finally:
                if starting is not None:
                    starting.close()
        raise lost

    def close(self) -> None:
        """Dismiss the supervisor that `prepare` started and no request used."""
        if self._starting is not None:
            try:
                self._starting.wait()
                control.connect(self._path).close()
            except (OSError, SupervisorLost):
                pass  # it has already exited
            self._starting.close()
            self._starting = None


def _until_hung_up(sock: socket.socket) -> None:
    """Wait until the supervisor has cleaned up and exited, or was killed."""
    sock.settimeout(None)
    try:
        while sock.recv(4096):
            pass
    except OSError:
        pass
