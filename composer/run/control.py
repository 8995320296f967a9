"""The supervisor's control socket, and the lock that allows only one supervisor.

Imports next to nothing: a supervisor listens before it has loaded its other modules.
"""

from __future__ import annotations

import contextlib
import os
import socket

from composer.release import VERSION
from engine import control
from engine.paths import KEEPER_SOCKET, SUPERVISOR_LOG, SUPERVISOR_SOCKET

LEAVING = "leaving"
"""The name of the socket while its supervisor cleans up."""
REMAINS = (SUPERVISOR_SOCKET, KEEPER_SOCKET, LEAVING)
"""Files that exist if a supervisor or a keeper was killed."""


class Control:
    """A listening socket with mode 0600, and the lock on its directory, which is held for the life of the process. `clean`:
    the last supervisor and its keeper exited in good order."""

    def __init__(self, listener: socket.socket, lock: int, path: str, *, clean: bool) -> None:
        self.listener, self._lock, self.path, self.clean = listener, lock, path, clean
        self.launcher: socket.socket | None = None
        """Closed when the process that started us has connected, or will never connect."""

    @classmethod
    def open(cls, path: str) -> Control | None:
        """Listen at `path`; None if another supervisor already does. Raises OSError."""
        lock = control.claim(path, VERSION)
        if lock is None:
            return None
        folder = os.path.dirname(path)
        clean = not any(os.path.exists(f"{folder}/{name}") for name in REMAINS)
        return cls(control.listen(path), lock, path, clean=clean)

    def close(self) -> None:
        """Stop listening. Connections that were not accepted are closed, and their commands try again. The lock is kept."""
        try:
            os.replace(self.path, f"{os.path.dirname(self.path)}/{LEAVING}")
        except FileNotFoundError:
            pass
        self.listener.close()

    def tidy_up(self, *, whole: bool) -> None:
        """Remove the supervisor's files, or the `whole` directory. This is its last action, while it still holds the lock. If
        the directory was removed and another supervisor has created a new one, nothing is touched."""
        folder, lock = os.path.split(control.lock_of(self.path))
        with contextlib.suppress(OSError):
            if not os.path.samestat(os.stat(f"{folder}/{lock}"), os.fstat(self._lock)):
                return
            ours = (SUPERVISOR_SOCKET, SUPERVISOR_LOG, LEAVING)
            for name in os.listdir(folder) if whole else ours:
                if name != lock:
                    _remove(f"{folder}/{name}")
            os.unlink(f"{folder}/{lock}")
            os.rmdir(folder)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except IsADirectoryError:
        import shutil

        shutil.rmtree(path, ignore_errors=True)
    except OSError:
        pass
