"""The events of a running build: flat mappings, each with the equivalent line of plain text.

{"id": "web 2/4", "step": 5, "name": "[web 2/4] RUN make", "status": "running" | "cached" | "done" | "error" |
 "output" | "warning", "text": …, "stream": 2 for output on stderr, "seconds": …, "line": "#5 [web 2/4] RUN make"}
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

Sink = Callable[[dict[str, object]], None]


class Reporter:
    """Numbers the steps of one build and sends their events, from any thread, one at a time."""

    def __init__(self, sink: Sink | None, title: str = "") -> None:
        self._title = title
        self.sink = sink or (lambda event: None)
        self._lock = threading.Lock()
        self._count = 0
        self.made = 0
        """The number of steps that created a layer or found nothing to change; the executor of steps counts them."""

    def step(self, place: str, text: str) -> Step:
        """Begin a step; `place` is such as `web 2/4`, `text` the instruction."""
        place = f"{self._title} {place}" if self._title else place
        with self._lock:
            self._count += 1
            step = Step(self, self._count, place, text)
        self.send(step, "running", line=f"#{step.number} {step.name}")
        return step

    def send(self, step: Step, status: str, *, line: str, text: str = "", stream: int = 1) -> None:
        event: dict[str, object] = {
            "id": step.place,
            "step": step.number,
            "name": step.name,
            "status": status,
            "seconds": round(time.monotonic() - step.started, 3),
            "line": line,
        }
        if text:
            event["text"] = text
        if stream != 1:
            event["stream"] = stream
        with self._lock:
            self.sink(event)


class Step:
    """One step under way; `done`, `cached` or `failed` ends it."""

    def __init__(self, reporter: Reporter, number: int, place: str, text: str) -> None:
        self._reporter, self.number, self.place = reporter, number, place
        self.name = f"[{place}] {text}"
        self.started = time.monotonic()
        self._rest = {1: b"", 2: b""}
        self.tail: list[str] = []

    def output(self, data: bytes, stream: int = 1) -> None:
        """Report output that the step's process wrote to `stream` (1 or 2), in whole lines; the last ones are kept for
        an error."""
        *lines, self._rest[stream] = (self._rest[stream] + data).split(b"\n")
        for line in lines:
            self._line(line, stream)

    def _line(self, line: bytes, stream: int) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]
        self.tail = [*self.tail[-19:], text]
        seconds = time.monotonic() - self.started
        self._reporter.send(self, "output", text=text, line=f"#{self.number} {seconds:.3f} {text}", stream=stream)

    def done_output(self) -> None:
        """Report output that does not end with a newline."""
        for stream, rest in self._rest.items():
            if rest:
                self._line(rest, stream)
                self._rest[stream] = b""

    def note(self, text: str) -> None:
        """Report what the builder itself has done."""
        self._reporter.send(self, "output", text=text, line=f"#{self.number} {text}")

    def warn(self, text: str) -> None:
        self._reporter.send(self, "warning", text=text, line=f"#{self.number} WARN: {text}")

    def cached(self) -> None:
        self._reporter.send(self, "cached", line=f"#{self.number} CACHED")

    def done(self) -> None:
        self.done_output()
        self._reporter.send(self, "done", line=f"#{self.number} DONE {time.monotonic() - self.started:.1f}s")

    def failed(self, text: str) -> None:
        self.done_output()
        # the caller of the build reports the reason once
        self._reporter.send(
            self, "error", text=text, line=f"#{self.number} ERROR {time.monotonic() - self.started:.1f}s"
        )
