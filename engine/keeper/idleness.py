"""When an unused keeper exits: the process that started it was killed before there was a container."""

from __future__ import annotations

import contextlib
import os
import selectors
import time

from engine import control
from engine.paths import KEEPER_LOG

IDLE = 3.0
"""Seconds after which a keeper exits that has no container, no client, and no client about to connect."""


class Idleness:
    """`due` is the time (monotonic) at which the keeper exits, 0 while it has work."""

    def __init__(self, loop: selectors.BaseSelector) -> None:
        self._loop = loop
        self._launcher = -1
        self.due = 0.0

    def expect(self, launcher: int) -> None:
        """`launcher` is a socket that is open as long as the process that started us may still connect, however slow it is."""
        os.set_inheritable(launcher, False)
        self._launcher = launcher
        self._loop.register(launcher, selectors.EVENT_READ, self._on_launcher_exit)
        with contextlib.suppress(ConnectionError):
            os.write(launcher, b"1")

    def _on_launcher_exit(self, launcher: int) -> None:
        self._loop.unregister(launcher)  # it never sends anything: readable means closed
        os.close(launcher)
        self._launcher = -1

    def tend(self, working: bool, path: str) -> bool:
        """Whether it is time to exit; if so, our files are removed."""
        if working or self._launcher >= 0:
            self.due = 0.0
        elif not self.due:
            self.due = time.monotonic() + IDLE
        elif time.monotonic() >= self.due:
            folder = os.path.dirname(path)
            for name in (path, control.lock_of(path), f"{folder}/{KEEPER_LOG}"):
                with contextlib.suppress(OSError):
                    os.unlink(name)
            with contextlib.suppress(OSError):
                os.rmdir(folder)
            return True
        return False
