"""Starting a supervisor, by a fork of a command that is still small, or by its command line.

A fork saves starting the interpreter and loading shared modules again, a third of the time to the first container. A command that
has read files or used the engine is too large to fork, and has descriptors and locks of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping

from composer import compiled
from engine.background import READY, Background, Descriptors, spawn
from engine.errors import EngineError, OperationFailed
from engine.paths import SUPERVISOR_LOG, Roots

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from composer.run.early_fork import EarlyFork
    from composer.run.port import Engine


_ROOM = 1023
"""The highest descriptor for which a supervisor makes room; the usual limit (RLIMIT_NOFILE) permits it."""


class SupervisorLost(EngineError):
    """The supervisor died, or did not start."""


class Launch:
    """A supervisor that starts while the command does other work. It leaves the command's session and directory, and its
    standard error is supervisor.log. It waits for a connection until `close`. Raises OperationFailed."""

    def __init__(
        self,
        roots: Roots,
        project: str,
        environ: Mapping[str, str],
        fork: Callable[[], Engine] | None = None,
        early: EarlyFork | None = None,
    ) -> None:
        """`fork` opens the engine in a forked child, which then expects to start containers, as `early` does, which was
        forked before. If this command has already opened the engine, the supervisor is started by its command line
        instead of a fork now."""
        self._project = project

        def start(descriptors: Descriptors) -> int:
            if early is not None:
                try:
                    early.supervise(roots, project, environ, descriptors)
                    return 0
                except OSError:
                    pass  # it was killed
            if fork is None or _has_opened(roots):
                from engine.kernel.open_files import restore  # a fork does not need it

                argv = [*command_line(roots, project), str(READY)]
                pid = spawn(argv[0], argv, {**environ, **_place(environ)}, descriptors)
                restore(pid)
                return pid
            if os.fork() == 0:
                os.setsid()
                live(roots, project, environ, fork, descriptors)
            return 0

        try:
            folder = os.path.dirname(roots.supervisor_socket(project))
            self._process = Background(f"{folder}/{SUPERVISOR_LOG}", start)
        except OSError as error:
            path = error.filename if isinstance(error, FileNotFoundError) else ""
            hint = f"{path} does not exist: composer needs proc at /proc, and /dev/null." if path else ""
            raise OperationFailed.of("start the supervisor of", project, error, hint=hint) from error

    def wait(self) -> None:
        """Wait until it listens. Raises SupervisorLost with the cause if it failed."""
        if not self._process.wait():
            hint = self._process.last_words()
            raise SupervisorLost(f"the supervisor of project {self._project} did not start", hint=hint)

    def close(self) -> None:
        self._process.close()


def command_line(roots: Roots, project: str) -> list[str]:
    """The command line by which we or the keeper start a supervisor. -P: modules come from our installation, not from the
    project's directory."""
    roots_given = ["--state-root", roots.state, "--run-root", roots.run]
    return [sys.executable, "-P", "-m", "composer", *roots_given, "-p", project, "supervise"]


def supervise(engine: Engine, roots: Roots, project: str, ready: int = -1, *, eager: bool = False) -> None:
    """Run the project's supervisor until nothing is left to do, unless another one is running. `ready` (see READY) receives a
    byte when requests are accepted; `eager`: a request that starts containers will follow."""
    os.chdir("/")
    _make_room()
    from composer.run.control import Control

    control = Control.open(roots.supervisor_socket(project))
    launcher = socket.socket(fileno=ready) if ready >= 0 else None
    if launcher is not None:
        launcher.set_inheritable(False)
        try:
            launcher.send(b"1")
        except ConnectionError:
            pass  # the command has exited: see `Supervisor._expect_requests`
    if control is None:
        return
    control.launcher = launcher
    if eager:
        engine.prepare(project)
    from composer.run import supervisor

    supervisor.supervise(engine, roots, project, control, command_line(roots, project))


def _make_room() -> None:
    """Enlarge the kernel's table of our descriptors once, before we start threads. In a process with threads, each
    enlargement waits some milliseconds for RCU. Each container needs five descriptors."""
    with contextlib.suppress(OSError):  # the limit is lower
        os.close(os.dup2(0, _ROOM, inheritable=False))


def live(
    roots: Roots,
    project: str,
    environ: Mapping[str, str],
    open_engine: Callable[[], Engine],
    descriptors: Descriptors,
) -> None:
    """Become the supervisor, in a child with its own session; does not return."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a command may have changed it
        for number, fd in enumerate(
            [os.dup(fd) for fd in descriptors]
        ):  # move descriptors so that they do not overwrite each other
            os.dup2(fd, number)
        compiled.close_from(READY + 1)
        os.set_inheritable(READY, False)
        os.environ.update({**environ, **_place(environ)})
        from engine.kernel.process_title import set_title

        set_title(command_line(roots, project))
        supervise(open_engine(), roots, project, READY, eager=True)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        try:
            sys.stderr.flush()
        finally:
            os._exit(0)


def _place(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment variable with the location of this program."""
    tree = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": f"{tree}:{path}" if path else tree}


def _has_opened(roots: Roots) -> bool:
    """Whether this process has files of the state root open. Database locks belong to a process (fcntl(2)), and the index of
    its log is shared memory: in a fork, the next command would truncate the mapped index as apparently unused (SIGBUS)."""
    for fd in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith(f"{roots.state}/"):
                return True
        except FileNotFoundError:
            pass  # the descriptor of the directory listing itself
    return False
