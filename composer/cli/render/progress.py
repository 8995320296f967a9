"""The progress of a command on stderr: one step per resource.

A step has docker compose's name (`Container shop-web-1`) and a changing status (`Creating`, `Created`).
progress_mode.py chooses one of the sinks:

    TtyProgress     a line a step, redrawn in place, with spinner and elapsed time (terminal.py)
    PlainProgress   one line for each change of a step
    JsonProgress    one JSON object for each change
    Progress        nothing (quiet)
"""

from __future__ import annotations

import enum
from types import TracebackType
from typing import Self, TextIO

from composer.cli.render.ansi import uncoloured
from composer.cli.render.message import json_line, warning_line


class State(enum.Enum):
    WORKING = "Working"
    DONE = "Done"
    WARNING = "Warning"
    ERROR = "Error"


class Progress:
    """Shows nothing; the base of the other sinks. Use it as a context manager, so that the terminal is restored."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def update(self, step: str, text: str, state: State = State.WORKING, *, detail: str = "") -> None:
        """The step has the status `text`, followed by `detail` (an error's first line, a pull's image)."""

    def fail(self, step: str, why: str) -> None:
        """The step has failed. The command ends with `why`, so people read it there; only programs get it here too."""
        del why
        self.update(step, "Error", State.ERROR)

    def transfer(self, step: str, part: str, current: int, total: int) -> None:
        """Bytes of one part (a layer) of a step."""

    def build(self, step: str, event: dict[str, object], *, prefix: str = "") -> None:
        """An event of the step's build (engine/build/progress.py). Sinks that write lines begin each with `prefix`."""

    def note(self, line: str) -> None:
        """A line between the steps (a warning)."""

    def title(self, words: str) -> None:
        """The word of the header: Running, Building, Pulling …"""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class PlainProgress(Progress):
    """`log` gets the lines of builds (None: `stream` does)."""

    def __init__(self, stream: TextIO, *, prefix: str = "", log: TextIO | None = None) -> None:
        super().__init__(stream)
        self._prefix, self._log = prefix, log or stream
        self._last: dict[str, str] = {}

    def update(self, step: str, text: str, state: State = State.WORKING, *, detail: str = "") -> None:
        line = f"{self._prefix} {step} {text}" + (f" {detail}" if detail else "")
        if self._last.get(step) != line:
            self._last[step] = line
            self.note(line)

    def build(self, step: str, event: dict[str, object], *, prefix: str = "") -> None:
        if "line" in event:
            _write(self._log, f"{prefix}{event['line']}")

    def note(self, line: str) -> None:
        _write(self.stream, line)


def _write(stream: TextIO, line: str) -> None:
    stream.write(uncoloured(line) + "\n")
    stream.flush()


class JsonProgress(Progress):
    def __init__(self, stream: TextIO, *, dry_run: bool = False) -> None:
        super().__init__(stream)
        self._dry_run = dry_run
        self._last: dict[str, tuple[str, str]] = {}

    def update(self, step: str, text: str, state: State = State.WORKING, *, detail: str = "") -> None:
        if self._last.get(step) != (text, detail):
            self._last[step] = (text, detail)
            self._write({"id": step, "status": state.value, "text": text, "details": detail})

    def fail(self, step: str, why: str) -> None:
        self.update(step, "Error", State.ERROR, detail=why)

    def transfer(self, step: str, part: str, current: int, total: int) -> None:
        percent = min(100 * current // total, 100) if total > 0 else 0
        sizes = {name: value for name, value in (("current", current), ("total", total), ("percent", percent)) if value}
        self._write({"id": part, "parent_id": step, "status": State.WORKING.value, **sizes})

    def build(self, step: str, event: dict[str, object], *, prefix: str = "") -> None:
        if "line" in event:
            self.note(f"{prefix}{event['line']}")

    def note(self, line: str) -> None:
        warning = line.removeprefix("warning: ")
        if warning != line:
            self._put(warning_line(warning, "json"))
        else:
            self._write({"tail": True, "text": line})

    def _write(self, event: dict[str, object]) -> None:
        self._put(json_line({"dry-run": True, **event} if self._dry_run else event))

    def _put(self, line: str) -> None:
        self.stream.write(line)
        self.stream.flush()
