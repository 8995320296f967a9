"""Unexpected errors, as messages for the user."""

from __future__ import annotations

import sys
import traceback

from engine.errors import system_message


def unforeseen(error: BaseException) -> str:
    """The message for an unexpected error; its traceback is written to our own log. For a group of errors from concurrent
    tasks, the first error that is not a group."""
    traceback.print_exception(error)
    sys.stderr.flush()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if message := system_message(error):
        return message
    if type(error).__module__.startswith(("composer.", "engine.")):
        return str(error)
    return f"internal error in the supervisor: {type(error).__name__}: {error}"
