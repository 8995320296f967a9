"""The exit record of a container, and exit.json."""

from __future__ import annotations

import contextlib
import json
import os
import time

from engine import atomic

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from engine.keeper.bundle import Bundle
    from engine.keeper.messages import Exit

_UNKNOWN = 255
"""The exit code if it cannot be known."""


def make(bundle: Bundle, pid: int, status: int | None) -> Exit:
    """Write exit.json, and return its content. `status` is a wait status, None if unknown."""
    code = _UNKNOWN if status is None else os.waitstatus_to_exitcode(status)
    record: Exit = {
        "exit_code": code if code >= 0 else 128 - code,
        "finished_at": time.time(),
        "oom_killed": _oom_killed(bundle),
        "pid": pid,
    }
    with contextlib.suppress(OSError):  # a full disk: watchers still get the event
        atomic.replace(bundle["exit_file"], json.dumps(record).encode())
    return record


def _oom_killed(bundle: Bundle) -> bool:
    """Whether the OOM killer killed any process of the container, as Docker reports it."""
    for path in bundle.get("oom_files", ()):
        try:
            with open(path, encoding="utf-8") as file:
                for line in file:
                    word, _, number = line.partition(" ")
                    if word == "oom_kill" and int(number) > 0:
                        return True
        except (OSError, ValueError):
            continue
    return False
