"""What the post_start and pre_stop hooks of a container have printed, in a file beside the container's log."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator

from engine.paths import private
from engine.spec.stream import LogEntry

NAME = "hooks.log"
BOUND = 1 << 20
"""Bytes after which the file is started again."""


def keep(folder: str, kind: str, lines: Iterable[str]) -> None:
    """Add lines; `kind` is post_start or pre_stop. Not being able to is no reason to fail: the disc may be full."""
    text = "".join(json.dumps((time.time_ns(), kind, f"{line}\n")) + "\n" for line in lines)
    path = f"{folder}/{NAME}"
    with contextlib.suppress(OSError):
        fresh = os.path.exists(path) and os.stat(path).st_size > BOUND
        with open(path, "w" if fresh else "a", encoding="utf-8", opener=private) as file:
            file.write(text)


class HookLog:
    """Reads such a file from its beginning, as it grows. Entries have the kind of the hook as their stream."""

    def __init__(self, folder: str) -> None:
        self._path = f"{folder}/{NAME}"
        self._position = 0

    def read(self) -> list[LogEntry]:
        """The entries since the last call."""
        try:
            with open(self._path, "rb") as file:
                if os.fstat(file.fileno()).st_size < self._position:
                    self._position = 0
                file.seek(self._position)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        return list(_entries(whole))


def _entries(data: bytes) -> Iterator[LogEntry]:
    for line in data.splitlines():
        moment, kind, text = json.loads(line)
        yield LogEntry(moment, kind, text)
