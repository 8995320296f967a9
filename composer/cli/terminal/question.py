"""A question that the user answers with yes or no."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from typing import TextIO


def confirmed(question: str, stream: TextIO, *, default: bool = False) -> bool:
    """Ask on `stream`, and read the answer from standard input. An empty line at a terminal is the default; the end of the
    input is no."""
    stream.write(question)
    stream.flush()
    answer = sys.stdin.readline()
    if answer == "\n" and sys.stdin.isatty():
        return default
    return answer.strip().lower() in ("y", "yes")
