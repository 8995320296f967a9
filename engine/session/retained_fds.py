"""What the session holds open of each running container, lest it end with a keeper that is killed.

Output that waits in a FIFO is gone when nobody has it open any more, a pseudo-terminal when its master is closed, and an
exit code when only init has seen it; a pidfd still tells it (engine.kernel.calls.exit_status).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from engine.errors import EngineError
from engine.kernel import calls


class RetainedFds:
    """Descriptors of one container. `terminal` are those that the keeper gave: the master of its pseudo-terminal, or none."""

    def __init__(self, run_folder: str, pid: int, terminal: Sequence[int]) -> None:
        self._terminal = list(terminal)
        self._others: list[int] = []
        self._pidfd = -1
        with contextlib.suppress(EngineError):
            self._pidfd = calls.pidfd_open(pid)
        for name in ("stdout", "stderr"):
            with contextlib.suppress(OSError):
                self._others.append(os.open(f"{run_folder}/{name}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))

    @property
    def for_adoption(self) -> tuple[int, ...]:
        """What the next keeper gets: pidfd, and the terminal's master if there is one."""
        return (self._pidfd, *self._terminal) if self._pidfd >= 0 else ()

    def close(self) -> None:
        for fd in (*self._terminal, *self._others, self._pidfd):
            if fd >= 0:
                os.close(fd)
        self._terminal, self._others, self._pidfd = [], [], -1
