"""The state root that a supervisor has open, as opposed to a later one at the same path."""

from __future__ import annotations

import os

from engine.errors import WrongState


class HeldRoot:
    def __init__(self, path: str, project: str) -> None:
        self._path, self._project = path, project
        self._identity = _identity(path)

    def check(self) -> None:
        """Raises WrongState when another directory is at the path: its content is not what the supervisor works on."""
        if _identity(self._path) != self._identity:
            raise WrongState(
                f"{self._path} is not the state root on which the supervisor of project {self._project} (process"
                f" {os.getpid()}) works: it was moved, deleted or mounted over",
                hint="Put the former one back and run composer down, or give the new one a run root of its own"
                " (COMPOSER_RUN_ROOT).",
            )


def _identity(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino
