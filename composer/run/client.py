"""The command's side: find the project's supervisor or start one, send a request, give its events.

A supervisor that dies in between costs nothing but time: another is started and asked the same again, for what was done
already is found done.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping

from composer.release import VERSION
from composer.run import protocol
from composer.run.protocol import End, Event, Frames, Go, Request
from engine import control
from engine.errors import EngineError, OperationFailed, OtherVersion
from engine.paths import Roots

ATTEMPTS = 4
"""How often a request is made before we give up on supervisors that die of it."""


class SupervisorLost(EngineError):
    """Supervisors die of this request."""


class Client:
    """One project's supervisor. `environ` is what a new one is started with."""

    def __init__(self, roots: Roots, project: str, environ: Mapping[str, str]) -> None:
        self._roots, self._project, self._environ = roots, project, environ
        self._path = roots.supervisor_socket(project)
        self._starting: tuple[int, int] | None = None

    def prepare(self) -> None:
        """Start a supervisor if there is none, without waiting for it: it gets ready to start containers while we do other
        things."""
        if self._starting is None and not os.path.exists(self._path):
            try:
                self._starting = self._spawn("eager")
            except OperationFailed:
                pass  # it is said when it is needed

    def listens(self) -> bool:
        """Whether there is a supervisor."""
        return control.listens(self._path)

    def perform(self, request: Request, *, ready: Callable[[str], None] | None = None) -> Iterator[Event]:
        """The events of the request, End last. `ready` is called with the id of a container to attach to.

        Raises SupervisorLost when there is no getting to the end, OperationFailed when none can be started.
        """
        for attempt in range(ATTEMPTS):
            with self._connect(replace=not attempt) as sock:
                try:
                    sock.sendall(protocol.frame(request))
                except OSError:
                    continue
                for event in self._events(sock, ready):
                    yield event
                    if isinstance(event, End):
                        if event.last:
                            _until_hung_up(sock)
                        return
        log = f"{os.path.dirname(self._path)}/supervisor.log"
        raise SupervisorLost(
            f"the supervisor of project {self._project} died {ATTEMPTS} times over this", hint=f"See {log}."
        )

    @staticmethod
    def _events(sock: socket.socket, ready: Callable[[str], None] | None) -> Iterator[Event]:
        """Events until the supervisor hangs up, however that happens."""
        frames = Frames()
        while True:
            try:
                data = sock.recv(65536)
            except ConnectionError:
                return
            if not data:
                return
            for one in frames.feed(data):
                event = protocol.event_of(one)
                if isinstance(event, protocol.Ready):
                    if ready is not None:
                        ready(event.container_id)
                    sock.sendall(protocol.frame(Go(event.container_id)))
                else:
                    yield event

    def renew(self) -> None:
        """Put a supervisor of this program in the place of the one that is there, whichever it is, and wait until it has
        adopted what runs. Raises SupervisorLost, OperationFailed."""
        control.end(self._path)
        with self._connect(replace=True) as sock:
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):  # it hangs up when it serves
                pass

    def _connect(self, *, replace: bool) -> socket.socket:
        """`replace`: put one of this program in the place of one of another release, which may be killed at any time and
        would not know what we mean. A command does so in the beginning only: what it finds later is newer than itself."""
        for _ in range(ATTEMPTS):
            if self._starting is None:
                try:
                    return control.connect(self._path, VERSION)
                except OtherVersion:
                    if not replace:
                        raise
                    control.end(self._path)
                    continue
                except OSError:
                    self._starting = self._spawn()
            self._await_start()
        raise SupervisorLost(
            f"the supervisor of project {self._project} cannot be reached",
            hint=f"See {os.path.dirname(self._path)}/supervisor.log.",
        )

    def _spawn(self, *words: str) -> tuple[int, int]:
        """Start a supervisor: its pid, and a pipe that says when it listens. It leaves our session and our folder."""
        folder = os.path.dirname(self._path)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            ready, done = os.pipe2(os.O_CLOEXEC)
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            log = os.open(f"{folder}/supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            argv = command_line(self._roots, self._project)
            try:
                pid = os.posix_spawn(
                    argv[0],
                    [*argv, "3", *words],
                    environment(self._environ),
                    file_actions=[
                        (os.POSIX_SPAWN_DUP2, null, 0),
                        (os.POSIX_SPAWN_DUP2, null, 1),
                        (os.POSIX_SPAWN_DUP2, log, 2),
                        (os.POSIX_SPAWN_DUP2, done, 3),
                    ],
                    setsid=True,
                )
            finally:
                for fd in (done, null, log):
                    os.close(fd)
        except OSError as error:
            raise OperationFailed.of("start the supervisor of", self._project, error) from error
        return pid, ready

    def _await_start(self) -> None:
        assert self._starting is not None
        pid, ready = self._starting
        self._starting = None
        alive = os.read(ready, 1)
        os.close(ready)
        os.waitpid(pid, 0)
        if not alive:
            folder = os.path.dirname(self._path)
            raise SupervisorLost(
                f"the supervisor of project {self._project} did not start", hint=_tail(f"{folder}/supervisor.log")
            )

    def close(self) -> None:
        """Let what `prepare` has started, and nobody needed, leave again."""
        if self._starting is not None:
            try:
                self._await_start()
                control.connect(self._path).close()
            except (OSError, SupervisorLost):
                pass  # it has gone already


def command_line(roots: Roots, project: str) -> list[str]:
    """How a supervisor is started, by us or by the keeper. -P: modules come from where ours did, not from a project's
    folder."""
    roots_given = ["--state-root", roots.state, "--run-root", roots.run]
    return [sys.executable, "-P", "-m", "composer", *roots_given, "-p", project, "supervise"]


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Ours, with the place where this program is."""
    tree = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = environ.get("PYTHONPATH", "")
    return {**environ, "PYTHONPATH": f"{tree}:{path}" if path else tree}


def _tail(path: str) -> str:
    """The last line of a log that says something."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    return next((f"It says: {line}" for line in reversed(lines) if line.strip()), "")


def _until_hung_up(sock: socket.socket) -> None:
    sock.settimeout(5)
    try:
        while sock.recv(4096):
            pass
    except OSError:
        pass
