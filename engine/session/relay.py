"""Copies between a caller's standard streams and the pipes of a process in a container.

The caller's own descriptors never enter the container: through /proc/self/fd its root could reopen a file and read or shorten
it, read and forge what others write to a pipe, and type into a terminal (ioctl_tty(2), TIOCSTI).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat

from engine.kernel import flags
from engine.poll import writable, write_all
from engine.spec.container import PIPE

CHUNK = 1 << 16
"""Bytes that are copied at once; the default capacity of a pipe."""
ROOM = 1 << 20
"""The capacity in bytes of a pipe with much traffic."""


def wanted(stdio: tuple[int, int, int]) -> list[list[int]]:
    """The `streams` of an exec request: those for which the caller has a descriptor, except for the null device, or
    wants a PIPE."""
    return [[number] for number, fd in enumerate(stdio) if fd == PIPE or (fd >= 0 and not _is_null(fd))]


def _is_null(fd: int) -> bool:
    status = os.fstat(fd)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == flags.NULL_DEVICE


class Relay:
    """`stdio` are the caller's descriptors, of which we keep duplicates; `pipes`, by stream number, are ours to close."""

    def __init__(self, stdio: tuple[int, int, int], pipes: dict[int, int]) -> None:
        self._input = pipes.get(0, -1)
        self._source = os.dup(stdio[0]) if 0 in pipes else -1
        self._outputs = {fd: os.dup(stdio[number]) for number, fd in pipes.items() if number}
        self._copied: set[int] = set()
        self._pending = b""
        self._source_ended = False
        if self._input >= 0:
            os.set_blocking(self._input, False)

    @property
    def reading(self) -> bool:
        """Whether some output has not ended."""
        return bool(self._outputs)

    def turn(self, other: int, timeout: float | None) -> bool:
        """Wait until something can be copied, and copy it; True when `other` is readable (-1: nothing else is waited for)."""
        poll = select.poll()
        for fd in (*self._outputs, *([other] if other >= 0 else [])):
            poll.register(fd, select.POLLIN)
        if self._input >= 0:
            if self._pending:
                poll.register(self._input, select.POLLOUT)
            else:
                poll.register(self._input, 0)  # POLLERR: the pipe no longer has a reader
                if not self._source_ended:
                    poll.register(self._source, select.POLLIN)
        seen = False
        for fd, events in poll.poll(None if timeout is None else max(0, int(timeout * 1000) + 1)):
            if fd == other:
                seen = True
            elif fd == self._input:
                self._feed(broken=bool(events & select.POLLERR))
            elif fd == self._source and fd not in self._outputs:
                self._read()
            elif fd in self._outputs:
                self._write(fd)
        return seen

    def close(self) -> None:
        for fd in (*self._outputs, *self._outputs.values()):
            os.close(fd)
        self._outputs.clear()
        self._end_input()

    def _read(self) -> None:
        if self._input < 0:
            return
        try:
            self._pending = os.read(self._source, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._pending = b""
        self._source_ended = not self._pending
        self._feed()

    def _feed(self, *, broken: bool = False) -> None:
        """Write pending input; when the caller's input ends, so does the process's."""
        try:
            while self._pending and not broken:
                self._pending = self._pending[os.write(self._input, self._pending) :]
        except BlockingIOError:
            return
        except OSError:
            broken = True
        if broken or self._source_ended:
            self._end_input()

    def _end_input(self) -> None:
        for fd in (self._input, self._source):
            if fd >= 0:
                os.close(fd)
        self._input, self._source, self._pending = -1, -1, b""

    def _write(self, fd: int) -> None:
        """Write a piece of output; if its reader is gone, the process gets EPIPE at its next write."""
        with contextlib.suppress(OSError):
            if self._move(fd, self._outputs[fd]):
                return
        os.close(self._outputs.pop(fd))
        os.close(fd)

    def _move(self, fd: int, target: int) -> int:
        """Without a copy where the kernel can (splice(2): not to a terminal, nor to a file that is appended to)."""
        if target not in self._copied:
            try:
                moved = os.splice(fd, target, ROOM)
            except BlockingIOError:
                writable(target)
                return 1
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._copied.add(target)
            else:
                if moved == CHUNK:  # the pipe was full: more is coming
                    with contextlib.suppress(OSError):  # pipe-user-pages-soft (pipe(7))
                        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, ROOM)
                return moved
        data = os.read(fd, CHUNK)
        write_all(target, data)
        return len(data)
