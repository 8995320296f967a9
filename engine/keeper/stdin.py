"""Input of a container's first process, written to a FIFO or its terminal's master without blocking."""

from __future__ import annotations

import os
from collections.abc import Callable

LIMIT = 1 << 16
"""Bytes queued for the program before no more are read from an attached client."""


def _nobody(waits: bool) -> None:
    pass


class Input:
    """Queues bytes until the program exists and reads them. `waits` is called when the descriptor is full, and again
    with False when all queued input has been written."""

    def __init__(self, waits: Callable[[bool], None]) -> None:
        self.fd = -1
        self._waits = waits
        self._waiting = bytearray()
        self._listening = self._last = False

    @property
    def full(self) -> bool:
        return len(self._waiting) >= LIMIT

    def open(self, fd: int) -> None:
        """Begin to write to the non-blocking descriptor, and own it."""
        self.fd = fd
        self.flush()

    def feed(self, data: bytes) -> None:
        if not self._last:
            self._waiting += data
            if not self._listening:
                self.flush()

    def end(self) -> None:
        """No more input follows: the program sees the end of its input after the queue."""
        self._last = True
        if not self._listening:
            self.flush()

    def flush(self) -> None:
        if self.fd < 0:
            return
        while self._waiting:
            try:
                del self._waiting[: os.write(self.fd, self._waiting)]
            except BlockingIOError:
                self._listen(True)
                return
            except OSError:  # the program has closed its input
                self._waiting.clear()
        self._listen(False)
        if self._last:
            self.close()

    def close(self) -> None:
        self._listen(False)
        self._waits = (
            _nobody  # break a reference cycle, which would keep the container until the next garbage collection
        )
        self._waiting.clear()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _listen(self, wanted: bool) -> None:
        if wanted != self._listening:
            self._listening = wanted
            self._waits(wanted)
