"""Start a background process that outlives us: a supervisor, a keeper. Imports next to nothing, as `engine.control`."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Mapping

from engine import control

READY = 3
"""The descriptor of the socket on which the process sends a byte when it listens. As long as the other end is open, its
starter may still connect."""

Descriptors = tuple[int, int, int, int]
"""The descriptors that become the process's 0, 1, 2 and READY."""


class Background:
    """A process that starts up while we continue. `start` starts it, with /dev/null for its input and output, and
    appends its errors to the file `log`. It returns the pid to wait for, 0 for none: the process forks and its parent
    exits, so that no one has to reap it. Raises OSError."""

    def __init__(self, log: str, start: Callable[[Descriptors], int]) -> None:
        self._log = log
        self._ready, done = socket.socketpair()
        opened = [done.detach()]
        try:
            opened.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
            opened.append(control.create(log, os.O_WRONLY | os.O_APPEND))
            done_fd, null, errors = opened
            self._pid = start((null, null, errors, done_fd))
        except BaseException:
            self._ready.close()
            raise
        finally:
            for fd in opened:
                os.close(fd)

    def wait(self) -> bool:
        """Wait until the process listens or has failed. Returns whether it listens."""
        try:
            alive = self._ready.recv(1)
        except ConnectionError:
            alive = b""
        if self._pid:
            os.waitpid(self._pid, 0)
            self._pid = 0
        return bool(alive)

    def last_words(self) -> str:
        """Why it failed: the file system where it can write nothing, not even its log, else the end of its log: the
        last line, and the one before unless it is of a traceback."""
        from engine import disk_reserve  # late: only for a failure
        from engine.errors import unwritable

        folder = os.path.dirname(self._log)
        if number := disk_reserve.refusal(folder):
            return unwritable(folder, number)
        try:
            with open(self._log, encoding="utf-8", errors="replace") as file:
                lines = [line for line in file.read().splitlines() if line.strip()]
        except OSError:
            return ""
        last = lines[-2:] if lines[-2:] and not lines[-2].startswith(" ") else lines[-1:]
        return "\n".join(("Its last words:", *last)) if last else ""

    def close(self) -> None:
        """Declare that we will not connect."""
        self._ready.close()


def spawn(program: str, argv: list[str], environment: Mapping[str, str], descriptors: Descriptors) -> int:
    """Execute `program` in a new session, with these descriptors only; returns its pid. Raises OSError."""
    actions = [*_closed(), *((os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(descriptors))]
    return os.posix_spawn(program, argv, environment, file_actions=actions, setsid=True)


def _closed() -> list[tuple[int, int]]:
    """Actions that close descriptors inherited from our caller, such as a shell's pipe of `> >(tee log)`, whose reader
    would otherwise wait for the process to exit."""
    found = []
    limit = os.sysconf("SC_OPEN_MAX")
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        with contextlib.suppress(OSError):  # that of the listing itself
            if fd > READY and os.get_inheritable(fd):
                if fd < limit:
                    found.append((os.POSIX_SPAWN_CLOSE, fd))
                else:  # opened before our caller lowered RLIMIT_NOFILE: posix_spawn refuses its number (EBADF)
                    os.set_inheritable(fd, False)
    return found
