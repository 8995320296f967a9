"""A container's standard input, as whoever is attached gives it."""

from __future__ import annotations

import os


class Input:
    """Writes to the pipe or pseudo-terminal `fd` without blocking: what it does not take now waits, and so should the
    writers. `once`: the first end of what is written is the end of the input (Docker's StdinOnce)."""

    def __init__(self, fd: int, *, once: bool) -> None:
        self._fd, self._once = fd, once
        self._waiting = bytearray()
        self._finished = False

    def fileno(self) -> int:
        return self._fd

    @property
    def waiting(self) -> bool:
        return bool(self._waiting)

    def write(self, data: bytes) -> None:
        self._waiting += data
        self.flush()

    def flush(self) -> None:
        """Write what is taken now."""
        try:
            while self._waiting:
                del self._waiting[: os.write(self._fd, self._waiting)]
        except BlockingIOError:
            return
        except OSError:
            self._waiting.clear()  # nobody will read it
        if self._finished:
            self.close()

    def finish(self) -> None:
        """One who was attached has no more."""
        if self._once:
            self._finished = True
            self.flush()

    def close(self) -> None:
        self._waiting.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
