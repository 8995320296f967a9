"""Guards of standard output and error, so that text from containers, images, registries and files cannot control the
terminal.

`raw` bypasses the guard for our own colours and cursor movements, and for the output of containers in `logs`, `up`,
`attach`, `run` and `exec`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from typing import Any, TextIO


class Guarded:
    """A text stream that writes everything with control characters as escapes (composer.load.printable)."""

    def __init__(self, stream: TextIO) -> None:
        self.unguarded = stream

    def write(self, text: str) -> int:
        if not text.isascii() or not text.isprintable():
            from composer.load.printable import escaped

            self.unguarded.write(escaped(text))
        else:
            self.unguarded.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)


def raw(stream: Any) -> TextIO:
    """The stream behind a guard, or `stream` itself if it has none."""
    found: TextIO = getattr(stream, "unguarded", stream)
    return found
