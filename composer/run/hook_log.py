"""The output of a container's post_start and pre_stop hooks, in a file beside the container's log."""

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
"""Size limit in bytes, after which the file is truncated."""


def keep(folder: str, kind: str, lines: Iterable[str]) -> None:
    """Append lines; `kind` is post_start or pre_stop. Errors, such as a full disk, are ignored."""
    text = "".join(json.dumps((time.time_ns(), kind, f"{line}\n")) + "\n" for line in lines)
    path = f"{folder}/{NAME}"
    with contextlib.suppress(OSError):
        fresh = os.path.exists(path) and os.stat(path).st_size > BOUND
        with open(path, "w" if fresh else "a", encoding="utf-8", opener=private) as file:
            file.write(text)


class HookLog:
    """Reads such a file from the beginning and follows it. Entries have the kind of the hook as their stream."""

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
        timestamp, kind, text = json.loads(line)
        yield LogEntry(timestamp, kind, text)
