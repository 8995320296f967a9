"""Log lines of several containers, each with its name in colour: `web-1  | hello`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from composer.cli.render.ansi import PREFIXES, RESET

MARK, WATCH = "        ⦿ ", "92"
"""What docker compose puts before the watcher's lines, and its colour."""


class Lines:
    """Writes whole lines: a container's stdout to `stdout`, its stderr to `stderr`.

    Names get colours in the order of appearance, as in docker compose, and a common width.
    """

    def __init__(
        self, stdout: TextIO, stderr: TextIO, *, colour: bool = False, prefix: bool = True, timestamps: bool = False
    ) -> None:
        self._streams = {"stdout": stdout, "stderr": stderr}
        self._colour, self._prefix, self._timestamps = colour, prefix, timestamps
        self._colours: dict[str, str] = {}
        self._width = 0

    def register(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._colours:
                self._colours[name] = PREFIXES[len(self._colours) % len(PREFIXES)]
            self._width = max(self._width, len(name))

    def line(self, name: str, text: str, *, stream: str = "stdout", timestamp: str = "") -> None:
        """One line of container `name`, with or without its newline."""
        text = text.removesuffix("\n")
        if self._timestamps and timestamp:
            text = f"{timestamp} {text}"
        self._write(stream, self._head(name) + text + "\n")

    def status(self, name: str, words: str) -> None:
        """A status line of the container, such as `web-1 exited with code 137`, in its colour."""
        self.register([name])
        text = f"{name} {words}\n"
        self._write("stdout", f"\x1b[{self._colours[name]}m{text}{RESET}" if self._colour else text)

    def watch(self, text: str) -> None:
        """A line of the watcher."""
        mark = f"\x1b[{WATCH}m{MARK}{RESET}" if self._colour else MARK
        self._write("stdout", f"{mark}{text}\n")

    def _head(self, name: str) -> str:
        if not self._prefix:
            return ""
        if name not in self._colours:
            self.register([name])
        head = f"{name:<{self._width}}  | "
        return f"\x1b[{self._colours[name]}m{head}{RESET}" if self._colour else head

    def _write(self, stream: str, text: str) -> None:
        out = self._streams[stream]
        out.write(text)
        out.flush()
