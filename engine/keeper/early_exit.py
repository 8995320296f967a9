"""Explains why a child exited without executing its program or reporting an error: its status, and its output on
standard error.

A child first shares the keeper's standard error (keeper.log), where the interpreter writes fatal errors.
"""

from __future__ import annotations

import os
import signal

_MOST = 600
"""The most characters of its output in the message."""


def mark() -> int:
    """The position in the log where children will write next; -1 when standard error is not a file."""
    try:
        return os.lseek(2, 0, os.SEEK_END)
    except OSError:
        return -1


def ended_early(status: int | None, since: int) -> str:
    """`status` is a wait status, None if unknown; `since` is the result of `mark` before the child was created."""
    written = " ".join(_written(since).split())
    return f"the process {_end(status)} before it could run its program" + (f": {written[:_MOST]}" if written else "")


def _end(status: int | None) -> str:
    if status is None:
        return "ended"
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _written(since: int) -> str:
    if since < 0:
        return ""
    try:
        with open("/proc/self/fd/2", "rb") as log:
            log.seek(since)
            return log.read(4 * _MOST).decode(errors="replace")
    except OSError:
        return ""
