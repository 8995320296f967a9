"""The server's log on standard error: its clients, and internal errors.

A thread writes it, so that a slow reader of our standard error does not hold up clients. Lines that do not fit into the
queue are counted.
"""

from __future__ import annotations

import queue
import sys
import threading

KEPT = 1024
"""The length of the queue in lines."""
PATIENCE = 1.0
"""Seconds for writing the last lines at exit."""


class Log:
    def __init__(self) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue(KEPT)
        self._thread: threading.Thread | None = None
        self._lost = 0

    def __call__(self, line: str) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="log", daemon=True)
            self._thread.start()
        lost = f"({self._lost} lines were lost)\n" if self._lost else ""
        try:
            self._lines.put_nowait(f"{lost}{line}")
            self._lost = 0
        except queue.Full:
            self._lost += 1

    def close(self) -> None:
        """Write the queued lines while standard error accepts them."""
        if self._thread is None:
            return
        try:
            self._lines.put(None, timeout=PATIENCE)
        except queue.Full:
            return
        self._thread.join(PATIENCE)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                print(line, file=sys.stderr, flush=True)
            except OSError:
                return
