"""The execs that a server knows. Docker too forgets those that have ended, after five to ten minutes: a program may run
`docker exec` every few seconds for months."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from composer.serve.docker.exec import Exec

KEPT = 600.0
"""Seconds for which an exec that has ended can be inspected."""
MOST = 16384
"""The number of execs that are kept; of more, the oldest that does not run is forgotten."""


class Execs:
    """Execs by id."""

    def __init__(self) -> None:
        self._known: dict[str, Exec] = {}
        self._ended: deque[tuple[float, str]] = deque()

    def get(self, exec_id: str) -> Exec | None:
        self._forget_old()
        return self._known.get(exec_id)

    def add(self, made: Exec) -> None:
        self._forget_old()
        self._known[made.id] = made
        if len(self._known) > MOST and (idle := next((one for one in self._known.values() if not one.running), None)):
            del self._known[idle.id]

    def ended(self, made: Exec, code: int) -> None:
        """Note that the exec has ended, or failed to start, with this exit code."""
        made.exit_code = code
        self._ended.append((time.monotonic(), made.id))

    def _forget_old(self) -> None:
        while self._ended and self._ended[0][0] < time.monotonic() - KEPT:
            self._known.pop(self._ended.popleft()[1], None)
