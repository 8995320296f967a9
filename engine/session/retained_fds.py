"""Descriptors that the session keeps open for each running container, so that they survive a killed keeper.

Output in a pipe is lost when its last reader closes it, a pseudo-terminal when its master is closed, and an exit code
when init has reaped the process; a pidfd still has it (engine.kernel.calls.exit_status).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from engine.errors import EngineError
from engine.kernel import calls


class RetainedFds:
    """Descriptors of one container. `streams` come from the keeper: the master of its pseudo-terminal, or its ends of
    stdout and stderr."""

    def __init__(self, pid: int, streams: Sequence[int]) -> None:
        self._streams = list(streams)
        self._pidfd = -1
        with contextlib.suppress(EngineError):
            self._pidfd = calls.pidfd_open(pid)

    @property
    def for_adoption(self) -> tuple[int, ...]:
        """The descriptors for the next keeper: pidfd and streams."""
        return (self._pidfd, *self._streams) if self._pidfd >= 0 else ()

    def close(self) -> None:
        for fd in (*self._streams, self._pidfd):
            if fd >= 0:
                os.close(fd)
        self._streams, self._pidfd = [], -1
