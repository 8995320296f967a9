"""`init: true`: the container's first process becomes a program of 600 bytes, and its child the user's program.

first process ── fork ──▶ second: its own process group and terminal, then the user's program
     └─ executes init.c from sealed memory: it is in no file of the container or the host
"""

from __future__ import annotations

import contextlib
import os
import signal

from engine.keeper.child.init_program import PROGRAMS
from engine.kernel import flags
from engine.kernel.sealed_memory import sealed

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from typing import NoReturn

    from engine.keeper.child.kernel import Kernel

_NAME = "composer-init"


def program(kernel: Kernel) -> int:
    """A descriptor of the program. Raises OperationFailed."""
    kernel.prctl(
        flags.PR_SET_CHILD_SUBREAPER, 1
    )  # with the pid namespace of another container, pid 1 is that container's
    return sealed(_NAME, PROGRAMS)


def split(fd: int, args: list[str], *, tty: bool) -> None:
    """Fork. The first process executes the program `fd` and never returns; the second returns to execute the user's program."""
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    pid = os.fork()
    if pid:
        os.execve(fd, [_NAME, str(pid), "--", *args], {})
    os.close(fd)
    os.setpgid(0, 0)
    if tty:
        # So keys like Ctrl-C reach only the program, and only once. SIGTTOU, which this raises, is blocked.
        os.tcsetpgrp(0, os.getpid())


def give_up(message: str, exit_code: int) -> NoReturn:
    """End the second process: its program cannot be executed. Without a report to the keeper, which takes the start as
    successful, because the first process runs; that one ends with the same code."""
    with contextlib.suppress(OSError):  # nobody reads stderr
        os.write(2, f"{_NAME}: {message}\n".encode(errors="surrogateescape"))
    os._exit(exit_code)
