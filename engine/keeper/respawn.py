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
        """Note the command line of the running supervisor."""
        self._command, self.due = (argv, environment), 0.0

    def lost(self) -> None:
        """Note that the supervisor has died."""
        if self._command:
            self.due = max(time.monotonic(), self._last + PAUSE)

    def tend(self, wanted: bool) -> None:
        """Start it if that is due and it is still `wanted`. Raises OSError; the next call tries again."""
        if not self.due or time.monotonic() < self.due:
            return
        self.due = time.monotonic() + PAUSE  # in case it fails
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
