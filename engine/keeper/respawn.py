"""Restarts the supervisor of a keeper's containers when it disappears without a goodbye."""

from __future__ import annotations

import os
import time

PAUSE = 1.0
"""Seconds between two starts of a supervisor that keeps dying."""


class Respawn:
    def __init__(self) -> None:
        self.due = 0.0
        """When `tend` has something to do; 0: never."""
        self._command: tuple[list[str], dict[str, str]] | None = None
        self._last = 0.0

    def know(self, argv: list[str], environment: dict[str, str]) -> None:
        """The supervisor is running; this is its command line."""
        self._command, self.due = (argv, environment), 0.0

    def lost(self) -> None:
        """The supervisor is gone."""
        if self._command:
            self.due = max(time.monotonic(), self._last + PAUSE)

    def tend(self, wanted: bool) -> None:
        """Start it when that is due and it is still `wanted`. Raises OSError; then another attempt follows."""
        if not self.due or time.monotonic() < self.due:
            return
        self.due = time.monotonic() + PAUSE  # should it fail
        if wanted and self._command:
            self._last = time.monotonic()
            argv, environment = self._command
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            try:
                actions = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
                os.posix_spawn(argv[0], argv, environment, file_actions=actions, setsid=True)
            finally:
                os.close(null)
        self.due = 0.0
