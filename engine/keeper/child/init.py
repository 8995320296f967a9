"""Our tiny init: the container's first process stays, as a program of 600 bytes, and its child becomes the user's.

first process ── fork ──▶ second: process group and terminal of its own, then the user's program
     └─ executes init.c from sealed memory: nothing of it is in the container's files, nor of the host's
"""

from __future__ import annotations

import fcntl
import os
import signal

from engine.errors import OperationFailed
from engine.keeper.child.init_program import PROGRAMS

_MFD_EXEC = 0x10
_NAME = "composer-init"


def program() -> int:
    """A descriptor of the program for this machine, in memory that nobody can write to. Raises OperationFailed."""
    try:
        data = bytes.fromhex(PROGRAMS[os.uname().machine])
        try:
            fd = os.memfd_create(_NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | _MFD_EXEC)
        except OSError:  # Linux before 6.3 does not know MFD_EXEC, and needs none
            fd = os.memfd_create(_NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.write(fd, data)
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    except OSError as error:
        raise OperationFailed.of("make", "the init program", error) from error
    except KeyError as error:
        raise OperationFailed("make", "the init program", detail=f"there is none for {error}") from error
    return fd


def split(fd: int, args: list[str], *, tty: bool) -> None:
    """Fork. The first process executes the program `fd` and never returns; the second returns to run the user's."""
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    pid = os.fork()
    if pid:
        os.execve(fd, [_NAME, str(pid), "--", *args], {})
    os.close(fd)
    os.setpgid(0, 0)
    if tty:
        # Keys like Ctrl-C then reach the program alone, and once. SIGTTOU, which this gives, is blocked.
        os.tcsetpgrp(0, os.getpid())
