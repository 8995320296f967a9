"""Our tiny init: the container's first process stays, as a program of 600 bytes, and its child becomes the user's.

first process ── fork ──▶ second: process group and terminal of its own, then the user's program
     └─ executes init.c from sealed memory: nothing of it is in the container's files, nor of the host's
"""

from __future__ import annotations

import os
import signal

from engine.keeper.child.init_program import PROGRAMS
from engine.kernel import flags
from engine.kernel.sealed import sealed

TYPE_CHECKING = False  # of typing, which a keeper need not load
if TYPE_CHECKING:
    from engine.keeper.child.kernel import Kernel

_NAME = "composer-init"


def program(kernel: Kernel) -> int:
    """A descriptor of the program. Raises OperationFailed."""
    kernel.prctl(flags.PR_SET_CHILD_SUBREAPER, 1)  # where another container's first process is number 1
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
        # Keys like Ctrl-C then reach the program alone, and once. SIGTTOU, which this gives, is blocked.
        os.tcsetpgrp(0, os.getpid())
