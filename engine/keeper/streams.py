"""The standard streams of a container's first process: our ends of its pipes or terminal, its log, attached clients."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from engine.keeper import pipes
from engine.keeper.listener import Listener
from engine.keeper.output import Outputs, Stream, Terminal
from engine.keeper.stdin import Input
from engine.log.writer import Log

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from engine.keeper.bundle import Bundle

PATIENCE = 100
"""How often the keeper tries to record the last output."""


class Streams:
    """`input_waits` is called when the input is full, and again (with False) when all queued input has been written.

    `rotated` is called with log files that are ready to be compressed. Raises OSError when the log cannot be opened.
    """

    def __init__(
        self,
        bundle: Bundle,
        outputs: Outputs,
        rotated: Callable[[str], None],
        input_waits: Callable[[Streams, bool], None],
    ) -> None:
        process = bundle["process"]
        self.tty = bool(process["tty"])
        self.takes_input = bool(process["stdin"]) or self.tty
        self.stdin_once = bool(process.get("stdin_once")) and not self.tty
        """Whether the program's input ends with that of the first attached client."""
        self.master = -1
        self.listeners: list[Listener] = []
        self.input = Input(lambda waiting: input_waits(self, waiting))
        self.log = Log(bundle["log"], rotated) if bundle["log"]["format"] else None
        self._folder = str(bundle["run_folder"])
        self._outputs = outputs
        self._streams: dict[int, Stream] = {}
        self._patience = PATIENCE

    # ── ends of pipes ─────────────────────────────────────────────────────────────────────────────

    def open(self) -> dict[str, int]:
        """Create the pipes, unless a first attempt did. Returns the process's ends by name, which the caller owns; None
        with a terminal."""
        if self.tty:
            return {}
        if not self._streams:
            ours = pipes.make(name for name in pipes.NAMES if name != "stdin" or self.takes_input)
            pipes.record(self._folder, ours)
            self._take_pipes(ours)
        known = {stream.name: fd for fd, stream in self._streams.items()}
        if self.input.fd >= 0:
            known["stdin"] = self.input.fd
        return {name: pipes.theirs(name, fd, once=name == "stdin" and self.stdin_once) for name, fd in known.items()}

    def adopt(self, processes: Sequence[int], kept: Sequence[int]) -> None:
        """Find our ends for a container that another keeper started, if one of its processes still has the pipes open.
        `kept`: stdout and stderr, or the terminal's master, if another process held them; the caller keeps its
        copies."""
        if self.tty:
            if kept:
                self.use_terminal(os.dup(kept[0]))
            elif self.log:
                self.log.note("the keeper of this container was killed, and its terminal ended with it")
            return
        found = pipes.find(self._folder, processes)
        for name, fd in zip(("stdout", "stderr"), kept, strict=False):
            if name in found:
                os.close(found[name])
            found[name] = os.dup(fd)
        self._take_pipes(found, adopted=True)

    def use_terminal(self, master: int) -> None:
        os.set_blocking(master, False)
        self.master = master
        self.input.open(os.dup(master))
        self._take_on(Terminal(master, self.log, self._distribute))

    @property
    def kept(self) -> tuple[int, ...]:
        """The descriptors that another process should hold so that they outlive us: the terminal's master, or our ends
        of stdout and stderr."""
        return (self.master,) if self.tty and self.master >= 0 else tuple(self._streams)

    def _take_pipes(self, ours: dict[str, int], *, adopted: bool = False) -> None:
        for name, fd in ours.items():
            if name == "stdin":
                self.input.open(fd)
            else:
                self._take_on(Stream(fd, name, self.log, self._distribute, adopted=adopted))

    def _take_on(self, stream: Stream) -> None:
        self._streams[stream.fd] = stream
        self._outputs.add(stream)

    # ── attached clients ───────────────────────────────────────────────────────────────────────────────────────────

    def attach(self, listener: Listener) -> None:
        self.listeners.append(listener)

    def detach(self, listener: Listener) -> None:
        if listener in self.listeners:
            self.listeners.remove(listener)
        listener.close()
        self.resume_if_possible()

    def resume_if_possible(self) -> None:
        """Resume reading, unless a listener's queue is still too long."""
        if not any(listener.full for listener in self.listeners):
            for fd in self._streams:
                self._outputs.resume(fd)

    def _distribute(self, stream: str, data: bytes) -> None:
        for listener in list(self.listeners):
            listener.enqueue(stream, data)
            if listener.closed:
                self.detach(listener)
            elif listener.full:
                for fd in self._streams:
                    self._outputs.hold(fd)

    # ── exit ──────────────────────────────────────────────────────────────────────────────────────────────────

    def finish(self) -> bool:
        """Record the rest of the output. False: memory is short, so call again."""
        self._patience -= 1
        try:
            for stream in self._streams.values():
                stream.finish(self._outputs.scratch)
        except MemoryError:
            return self._patience <= 0
        except OSError:
            pass  # report the exit, even if the last output is lost
        return True

    def close(self) -> None:
        """Close everything except the listeners, which may not have received all output yet."""
        for fd in self._streams:
            self._outputs.remove(fd)
        self.input.close()
        for fd in self._streams:
            os.close(fd)
        self._streams.clear()
        self.master = -1
        if self.log:
            self.log.close()
            self.log = None
