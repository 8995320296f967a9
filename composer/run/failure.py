"""Unforeseen errors, as messages for the user."""

from __future__ import annotations

import os
import sys
import traceback


def unforeseen(error: BaseException) -> str:
    """The reason for an error of no kind of ours; where it comes from is written to our own log.

    Of a group, as tasks side by side give it, the first error that is not a group.
    """
    traceback.print_exception(error)
    sys.stderr.flush()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.errno:
        where = f" {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
        return f"{error.strerror}{where}"
    if type(error).__module__.startswith(("composer.", "engine.")):
        return str(error)
    return f"internal error in the supervisor: {type(error).__name__}: {error}"
