"""Read the output of containers: a limited amount per stream and turn, so that a flood does not delay others.

A FIFO's content is copied by tee(2), recorded, and only then removed. If the keeper is killed in between, unrecorded
output, including the beginnings of lines, is still in the FIFO for the next keeper. Reading a pseudo-terminal always
removes data, so its unfinished lines are kept here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import time
from collections.abc import Callable

from engine.kernel import calls
from engine.log.writer import Log

TURN = 256 * 1024
"""Bytes per stream and turn: about one millisecond of work."""

LEAST = 1 << 15
"""Bytes per turn when memory is short."""

ROOM = 1 << 20
"""The size of a pipe once its writer has filled much of the default 64 KiB."""

REST = 0.1
"""Seconds until a stream is read again after a failure for lack of memory."""

LAST_TURNS = 64
"""The most reads of a stream that is being closed, in case a process outside the container keeps writing."""


class Scratch:
    """The pipe into which content is copied; it is empty between two calls of `peek`."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        grow(self._in)

    def peek(self, fd: int, most: int) -> bytes:
        """The content of the pipe `fd`, up to `most` bytes. Raises BlockingIOError when it is empty."""
        size = calls.tee(fd, self._in, most)
        try:
            data = os.read(self._out, size) if size else b""
            while len(data) < size:
                data += os.read(self._out, size - len(data))
        except BaseException:  # no memory: drop the copy; the original is still in the pipe
            self.drop(self._out, size)
            raise
        return data

    def drop(self, fd: int, size: int) -> None:
        """Remove `size` bytes from the pipe `fd`, or everything."""
        while size > 0:
            try:
                size -= os.splice(fd, self._null, size) or size
            except BlockingIOError:
                return


def grow(fd: int) -> None:
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, ROOM)
    except OSError:
        pass  # pipe-user-pages-soft (pipe(7)): keep the size


class Stream:
    """One stream of a container. `distribute` passes output to attached clients at once.

    `adopted`: an earlier keeper was killed, perhaps between recording a batch and taking it out of the FIFO.
    """

    def __init__(
        self, fd: int, name: str, log: Log | None, distribute: Callable[[str, bytes], None], *, adopted: bool = False
    ) -> None:
        self.fd, self.name = fd, name
        self._adopted = adopted
        self._log, self._distribute = log, distribute
        self._distributed = 0
        self._most = TURN
        self._grown = False

    def turn(self, scratch: Scratch) -> bool:
        """Read a limited amount; returns whether there may be more. After a lack of memory, the next read is
        smaller."""
        most, self._most = self._most, max(LEAST, self._most // 2)
        try:
            data = scratch.peek(self.fd, most)
        except BlockingIOError:
            self._most = TURN
            return False
        if len(data) >= TURN // 8 and not self._grown:
            self._grown = True
            grow(self.fd)
        known = 0
        if self._adopted and self._log:
            known = self._log.recorded(self.name, data)
            scratch.drop(self.fd, known)
            data = data[known:]
        self._adopted = False
        taken = self._record(data)
        scratch.drop(self.fd, taken)
        self._distributed = len(data) - taken
        self._most = TURN
        return taken > 0 or known > 0

    def finish(self, scratch: Scratch) -> None:
        """Record the remaining output, including an unfinished line. Can be repeated after a MemoryError."""
        for _ in range(LAST_TURNS):
            if not self.turn(scratch):
                break
        self._last(scratch)

    def _last(self, scratch: Scratch) -> None:
        with contextlib.suppress(BlockingIOError):
            rest = scratch.peek(self.fd, TURN)
            if rest and self._log:
                self._log.feed(self.name, rest, last=True)
            scratch.drop(self.fd, len(rest))

    def _record(self, data: bytes) -> int:
        if len(data) > self._distributed:
            self._distribute(self.name, data[self._distributed :])
        return self._log.feed(self.name, data) if self._log else len(data)


class Terminal(Stream):
    """The master side of a container's pseudo-terminal: stdout and stderr in one."""

    def __init__(self, fd: int, log: Log | None, distribute: Callable[[str, bytes], None]) -> None:
        super().__init__(fd, "stdout", log, distribute)
        self._rest = b""

    def turn(self, scratch: Scratch) -> bool:
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.EIO:  # no process has the slave open now
                return False
            raise
        self._distributed = len(self._rest)
        self._rest += data
        self._rest = self._rest[self._record(self._rest) :]
        return bool(data)

    def _last(self, scratch: Scratch) -> None:
        if self._rest and self._log:
            self._log.feed(self.name, self._rest, last=True)
            self._rest = b""


class Outputs:
    """All streams of all containers. Its descriptor is readable when one of them has something.

    Streams are watched edge-triggered, since the beginning of a line may stay in a FIFO for long.
    """

    def __init__(self) -> None:
        self.scratch = Scratch()
        self._epoll = select.epoll()
        self._streams: dict[int, Stream] = {}
        self._ready: dict[int, None] = {}
        self._held: set[int] = set()
        self._resting: dict[int, float] = {}

    def fileno(self) -> int:
        return self._epoll.fileno()

    @property
    def due(self) -> float:
        """When to try a paused stream again; 0 if not needed."""
        return min(self._resting.values(), default=0.0)

    @property
    def busy(self) -> bool:
        """Whether a stream has more data than was read."""
        return any(fd not in self._held for fd in self._ready) if self._held else bool(self._ready)

    def add(self, stream: Stream) -> None:
        self._epoll.register(stream.fd, select.EPOLLIN | select.EPOLLET)
        self._streams[stream.fd] = stream
        self._ready[stream.fd] = None

    def remove(self, fd: int) -> None:
        if self._streams.pop(fd, None):
            self._epoll.unregister(fd)
            self._ready.pop(fd, None)
            self._resting.pop(fd, None)
            self._held.discard(fd)

    def hold(self, fd: int) -> None:
        """Pause a stream because an attached client does not keep up."""
        if fd in self._streams:
            self._held.add(fd)

    def resume(self, fd: int) -> None:
        self._held.discard(fd)

    def turn(self) -> None:
        """One bounded read of each stream that has something. Raises what the last one that failed has raised."""
        for fd, _ in self._epoll.poll(0):
            self._ready[fd] = None
        if self._resting:
            now = time.monotonic()
            for fd in [fd for fd, timestamp in self._resting.items() if timestamp <= now]:
                del self._resting[fd]
                self._ready[fd] = None
        failure: Exception | None = None
        for fd in list(self._ready):
            if fd in self._held or fd in self._resting or fd not in self._streams:
                continue
            try:
                if not self._streams[fd].turn(self.scratch):
                    self._ready.pop(fd, None)
            except Exception as error:
                failure = error
                self._ready.pop(fd, None)
                self._resting[fd] = time.monotonic() + REST
        if failure:
            raise failure
