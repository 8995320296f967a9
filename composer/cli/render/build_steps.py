"""The steps of a build below its own line in live progress, as BuildKit shows them:

⠹ Image shop-web  Building                                             4.2s
=> CACHED [1/3] FROM debian                                            0.0s
=> [2/3] RUN make                                                      4.2s
=> => # make main.o
=> => # make shop.o
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from composer.cli.render.ansi import BLUE, RED, paint, uncoloured
from composer.cli.render.table import shorten
from composer.load.printable import one_line

LAST = 6
"""Lines of a running step's output that are shown."""

KEPT, OUTPUT, FINISHED = 0, 1, 2
"""Which lines are dropped first when not all of them fit: those with the highest number."""

Row = tuple[str, int, int]
"""A line, its width in columns without colours, and its priority for dropping."""


class _BuildStep:
    __slots__ = ("begin", "end", "name", "output", "status")

    def __init__(self, name: str, now: float) -> None:
        self.name, self.begin, self.end, self.status = name, now, 0.0, "running"
        self.output: deque[str] = deque(maxlen=LAST)


class BuildSteps:
    """The steps of one build, from the engine's events (engine/build/progress.py)."""

    def __init__(self) -> None:
        self._steps: dict[object, _BuildStep] = {}

    def report(self, event: dict[str, object]) -> None:
        now = time.monotonic()
        step = self._steps.setdefault(event.get("step"), _BuildStep(one_line(str(event.get("name", ""))), now))
        status = str(event.get("status"))
        if status == "output":
            step.output.append(one_line(uncoloured(str(event.get("text", "")))))
        elif status in ("cached", "done", "error"):
            step.status, step.end = status, now

    def rows(self, columns: int, *, colour: bool, done: bool) -> Iterator[Row]:
        """The lines to show; without output once the build is `done`."""
        for step in self._steps.values():
            mark = {"cached": "CACHED ", "error": "ERROR "}.get(step.status, "")
            timer = f"{(step.end or time.monotonic()) - step.begin:.1f}s "
            room = max(columns - 4 - len(timer) - 1, 0)
            words = shorten(f"{mark}{step.name}", room)
            text = f" => {words:<{room}} {timer}"
            finished = step.status in ("cached", "done")
            if colour and step.status != "running":
                text = paint(text, RED if step.status == "error" else BLUE)
            yield text, 4 + room + 1 + len(timer), FINISHED if finished else KEPT
            if step.status == "running" and not done:
                for line in step.output:
                    line = shorten(f" => => # {line}", columns)
                    yield paint(line, "2") if colour else line, len(line), OUTPUT
