"""Our standard streams for a process in a container: only pipes are handed over, all else is copied.

A descriptor of a file or a terminal is more than its stream: by /proc/self/fd the container's root could open the file again and
read or shorten what was in it before, and a terminal takes keys of whoever has it (ioctl_tty(2), TIOCSTI). Docker copies, too.
"""

from __future__ import annotations

import os
import stat
import threading
from contextlib import suppress

from composer.cli.terminal.tty import CHUNK, write_all

PATIENCE = 2.0
"""Seconds in which what is left of the output is copied when the process has ended but others still hold its streams."""

_NULL = os.makedev(1, 3)


class Through:
    """Around the process's life: `theirs` are for it; `handed_over` when it has them."""

    def __init__(self, stdio: tuple[int, int, int]) -> None:
        self._ends: list[int] = []
        self._copying: list[threading.Thread] = []
        self.theirs = self._theirs(stdio[0], 0), self._theirs(stdio[1], 1), self._theirs(stdio[2], 2)

    def _theirs(self, fd: int, number: int) -> int:
        status = os.fstat(fd)
        if stat.S_ISFIFO(status.st_mode) or (stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL):
            return fd
        reading, writing = os.pipe()
        theirs, source, target = (reading, fd, writing) if number == 0 else (writing, reading, fd)
        self._ends.append(theirs)
        thread = threading.Thread(target=_copy, args=(source, target, target if number == 0 else source), daemon=True)
        thread.start()
        if number:
            self._copying.append(thread)
        return theirs

    def handed_over(self) -> None:
        while self._ends:
            os.close(self._ends.pop())

    def __enter__(self) -> Through:
        return self

    def __exit__(self, *_: object) -> None:
        self.handed_over()
        for thread in self._copying:
            thread.join(PATIENCE)


def _copy(source: int, target: int, ours: int) -> None:
    """To the end of the source, or until nobody reads; `ours` is the pipe's end, which is closed."""
    with suppress(OSError):
        while data := os.read(source, CHUNK):
            write_all(target, data)
    os.close(ours)
