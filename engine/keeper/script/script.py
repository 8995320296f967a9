"""Scripts: lists of system calls that the keeper records and a small process (run.c) carries out.

    keeper                                        the container's first process
      │  a recording of BEGIN, PREPARE and ENTER     │
      │  in a memfd                                  │
      │ ── spawn ───────────────────────────────────▶│  its operations, one after the other
      │ ◀──────────── {"event": "sockets"/"ready"} ──│
      │  more operations: FINISH; a message          │
      │ ────────────────────────────────────────────▶│  those, the last of which is execve(2)

The steps are in engine/keeper/child/steps.py; recorded.py records them, and shapes.py keeps recordings.

Forking the keeper, a Python process, costs more than everything that the child does: each page that it writes to is
copied, and execve(2) tears all of them down. A script has no control flow: an unexpected failure ends it, and a fork of
the keeper starts the container instead (engine/keeper/child/setup.py), which can do everything.
"""

from __future__ import annotations

import errno
import os
import struct

from engine.keeper.script.recording import BASE, DATA, Recording

SCRIPT, CHANNEL = 3, 4
"""The descriptors of the script and of the stream to the keeper in the process."""
_HEAD = struct.Struct("=5Q")


class Script:
    """A recording in a memfd, for one process. Raises OSError if it cannot be created."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("script", os.MFD_CLOEXEC)
        self._recording = Recording()
        self._published = [0, 0]

    def close(self) -> None:
        """Close the script; the process, if any, keeps its mapping."""
        self._recording = Recording()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def publish(self, recording: Recording, contents: bytes | bytearray | None = None) -> None:
        """Write the operations that are new since the last call to the memfd, where the process sees them, and their
        data, or `contents` in place of these. Raises OSError when memory is short; with a mapping of our own, that would
        be SIGBUS, which would kill the keeper."""
        self._recording = recording
        parts = ((0, recording.operations), (DATA, recording.contents if contents is None else contents))
        for index, (start, content) in enumerate(parts):
            known = self._published[index]
            self._put(content[known:], start + known)
            self._published[index] = len(content)

    def go_on(self) -> None:
        """Let the process continue after the pause when it gets a message. Raises as `publish`."""
        self._put(struct.pack("=Q", BASE + self._recording.paused), 0)

    def _put(self, content: bytes | bytearray, place: int) -> None:
        if os.pwrite(self.fd, content, place) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # ── results ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def broken(self) -> bool:
        """For a process that has exited: whether an operation before the pause failed, or the script never began."""
        _, failed, _, _, begun = self._head()
        return failed - BASE < self._recording.paused if failed else not begun

    @property
    def passed(self) -> bool:
        """Whether the process has reached the milestone."""
        reached = self._recording.reached
        return reached > 0 and os.pread(self.fd, 1, reached - BASE) == b"\1"

    def failure(self) -> Exception | None:
        """The error of the operation that failed after the pause."""
        _, failed, number, noted, _ = self._head()
        return self._recording.error(failed - BASE, number, noted) if failed else None

    def _head(self) -> tuple[int, ...]:
        """next, failed, error, noted, begun: see run.c."""
        return _HEAD.unpack(os.pread(self.fd, _HEAD.size, 0))
