"""Live progress: one line per step, redrawn in place.

    [+] up 3/4
     ✔ Network shop_default  Created                                           0.0s
     ⠹ Container shop-db-1   Waiting                                           1.3s

Below a build are its steps (build_steps.py). A frame is written at once. Before it the cursor goes up over the lines of the
last one, counted as the terminal would wrap them at its present width, so that a narrowed window stays clean.
No frame is taller than the terminal: finished steps are dropped first.
"""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType
from typing import Self, TextIO

from composer.cli.render.ansi import BLUE, GREEN, RED, YELLOW, paint, uncoloured
from composer.cli.render.build_steps import FINISHED, KEPT, OUTPUT, BuildSteps, Row
from composer.cli.render.guard import raw
from composer.cli.render.progress import Progress, State
from composer.cli.render.table import shorten
from composer.load.printable import escaped, one_line
from composer.view.units import human_size

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
MARKS = {State.DONE: ("✔", GREEN), State.WARNING: ("!", YELLOW), State.ERROR: ("✘", RED)}
BAR = "⠀⡀⣀⣄⣤⣦⣶⣷⣿"
INTERVAL = 0.1
"""Seconds between frames."""


class Step:
    __slots__ = ("begin", "build", "detail", "end", "parts", "state", "text")

    def __init__(self, now: float) -> None:
        self.begin, self.end, self.text, self.detail, self.state = now, 0.0, "", "", State.WORKING
        self.parts: dict[str, tuple[int, int]] = {}
        self.build: BuildSteps | None = None


class TtyProgress(Progress):
    def __init__(self, stream: TextIO, *, colour: bool, title: str = "Running", dry_run: bool = False) -> None:
        super().__init__(raw(stream))
        self._colour, self._title, self._dry_run = colour, title, dry_run
        self._steps: dict[str, Step] = {}
        self._drawn: list[int] = []
        self._frame = 0
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._wake.set()
            self._thread.join()
        with self._lock:
            if self._steps:
                self._draw()

    def title(self, words: str) -> None:
        self._title = words

    def update(self, step: str, text: str, state: State = State.WORKING, *, detail: str = "") -> None:
        step, text, detail = one_line(step), one_line(text), escaped(detail)
        with self._lock:
            now = time.monotonic()
            entry = self._steps.setdefault(step, Step(now))
            if entry.state is not State.WORKING and state is State.WORKING:
                entry.begin = now
            entry.text, entry.state, entry.detail = text, state, detail
            entry.end = 0.0 if state is State.WORKING else now
            if self._thread is None:
                self._thread = threading.Thread(target=self._animate, daemon=True)
                self._thread.start()
                self._draw()

    def transfer(self, step: str, part: str, current: int, total: int) -> None:
        with self._lock:
            self._steps.setdefault(one_line(step), Step(time.monotonic())).parts[part] = (current, total)

    def build(self, step: str, event: dict[str, object], *, prefix: str = "") -> None:
        with self._lock:
            entry = self._steps.setdefault(one_line(step), Step(time.monotonic()))
            entry.build = entry.build or BuildSteps()
            entry.build.report(event)

    def note(self, line: str) -> None:
        with self._lock:
            self.stream.write(self._erase() + uncoloured(line) + "\n")
            self._drawn = []
            if self._steps:
                self._draw()
            self.stream.flush()

    def _animate(self) -> None:
        while not self._wake.wait(INTERVAL):
            self._animate_once()

    def _animate_once(self) -> None:
        with self._lock:
            self._frame += 1
            self._draw()

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self.stream.fileno())
        except (OSError, ValueError):
            return 80, 24
        return size.columns or 80, size.lines or 24

    def _erase(self) -> str:
        """Back to the first line of the last frame, and clear from there."""
        columns, _ = self._size()
        height = sum(max(1, -(-length // columns)) for length in self._drawn)
        return f"\x1b[{height}A\r\x1b[J" if height else ""

    def _draw(self) -> None:
        columns, rows = self._size()
        total = len(self._steps)
        finished = sum(step.state is not State.WORKING for step in self._steps.values())
        head = f"[+] {self._title} {finished}/{total}"
        rows_shown: list[Row] = [(paint(head, BLUE) if self._colour and finished == total else head, len(head), KEPT)]
        shown = self._visible(rows - 2)
        width = max((len(name) for name, _ in shown), default=0)
        width = max(8, min(width, columns - 24))
        for name, step in shown:
            line, length = self._line(name, step, width, columns)
            rows_shown.append((line, length, KEPT))
            if step.build is not None:
                done = step.state is not State.WORKING
                rows_shown += step.build.rows(columns, colour=self._colour, done=done)
        rows_shown = _fitting(rows_shown, rows - 1)
        text = "\x1b[?25l" + self._erase() + "".join(f"{line}\n" for line, _, _ in rows_shown) + "\x1b[?25h"
        self._drawn = [length for _, length, _ in rows_shown]
        self.stream.write(text)
        self.stream.flush()

    def _visible(self, rows: int) -> list[tuple[str, Step]]:
        """The steps that fit, in order; the earliest finished ones are dropped first."""
        steps = list(self._steps.items())
        excess = len(steps) - max(rows, 1)
        if excess <= 0:
            return steps
        hidden = {name for name, step in steps if step.state is State.DONE}
        hidden = set([name for name, _ in steps if name in hidden][:excess])
        return [(name, step) for name, step in steps if name not in hidden][: max(rows, 1)]

    def _line(self, name: str, step: Step, width: int, columns: int) -> tuple[str, int]:
        mark, colour = MARKS.get(step.state, (SPINNER[self._frame % len(SPINNER)], YELLOW))
        elapsed = (step.end or time.monotonic()) - step.begin
        timer = f"{elapsed:.1f}s "
        words = step.text if not step.detail else f"{step.text} {step.detail.splitlines()[0]}"
        if step.parts and step.state is State.WORKING:
            words = f"{_bar(step.parts)} {words}"
        if self._dry_run:
            words += " (dry run)"
        left = f"{shorten(name, width):<{width}} "
        room = max(columns - 3 - len(left) - len(timer), 0)
        words = shorten(words, room) if room else ""
        gap = " " * (room - len(words))
        length = 3 + len(left) + len(words) + len(gap) + len(timer)
        if not self._colour:
            return f" {mark} {left}{words}{gap}{timer}", length
        if step.state is not State.WORKING:
            words = paint(words, colour)
        return f" {paint(mark, colour)} {left}{words}{gap}{paint(timer, BLUE)}", length


def _fitting(rows: list[Row], room: int) -> list[Row]:
    """The lines that fit: finished steps of builds are dropped first, then output, earliest first."""
    for kind in (FINISHED, OUTPUT, KEPT):
        excess = len(rows) - max(room, 1)
        if excess <= 0:
            break
        going = set([index for index, row in enumerate(rows) if row[2] == kind and index][:excess])
        rows = [row for index, row in enumerate(rows) if index not in going]
    return rows


def _bar(parts: dict[str, tuple[int, int]]) -> str:
    """One character per part, filled by its progress, and the total bytes."""
    cells, got, want = "", 0, 0
    for current, total in parts.values():
        level = len(BAR) - 1 if total and current >= total else (current * (len(BAR) - 1) // total if total else 0)
        cells += BAR[level]
        got, want = got + current, want + total
    return f"[{cells}] {human_size(got)} / {human_size(want)}"
