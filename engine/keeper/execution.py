"""A further process in a container (exec), from fork to exit. Its standard streams are new pipes, whose other ends the
client gets, or the container's null device."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from engine.errors import EngineError
from engine.keeper import forking
from engine.keeper.child import setup
from engine.keeper.container import Container
from engine.keeper.protocol import Channel, Message

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from typing import Any

    from engine.keeper.messages import Exec, Failure


class Execution:
    """`answer` settles the request; `ended` is called with the exit code."""

    def __init__(
        self,
        child: Channel,
        pid: int,
        descriptors: Sequence[int],
        answer: Callable[[Mapping[str, object], tuple[int, ...]], None],
        ended: Callable[[int], None],
        *,
        tty: bool,
    ) -> None:
        self.child, self.pid, self.ended = child, pid, ended
        self._descriptors = list(descriptors)
        self._answer = answer
        self._failure: Failure | None = None
        self._lacks_terminal = tty
        self.answered = False

    def read(self) -> bool:
        """Read a report of the child about its start; False at the end of the stream: the program was executed, or
        never will be. Invalid data, from a process that traces the child, counts as the end."""
        try:
            open_still = self.child.feed()
            while (found := self.child.take()) is not None:
                self._take(*found)
        except BlockingIOError:
            return True
        except (OSError, ValueError, TypeError):
            return False
        return open_still

    def _take(self, message: Message, descriptors: list[int]) -> None:
        """Raises ValueError or TypeError for what the child never sends."""
        self._descriptors += descriptors
        terminal = message.get("event") == "terminal"
        if len(descriptors) != (1 if terminal and self._lacks_terminal else 0):
            raise ValueError("a report with unexpected descriptors")
        if terminal:
            self._lacks_terminal = False
        elif message.get("event") == "failed":
            self._failure = {"error": str(message.get("error")), "exit_code": int(message.get("exit_code", 125))}

    def settle(self) -> None:
        """Answer the request; the answer carries a pidfd, and the terminal's master or our ends of the pipes."""
        if self.answered:
            return
        self.answered = True
        self.child.close()
        if self._lacks_terminal and self._failure is None:
            self._failure = {"error": "the process ended before it had a terminal", "exit_code": 125}
        self._answer(self._failure or {"pid": self.pid}, () if self._failure else tuple(self._descriptors))
        for fd in self._descriptors:
            os.close(fd)


def fork(
    container: Container,
    message: Exec,
    answer: Callable[[Mapping[str, object], tuple[int, ...]], None],
    ended: Callable[[int], None],
) -> Execution:
    """Fork a process that joins the container and executes the request's program. Raises EngineError, OSError."""
    streams = message["streams"]
    if not isinstance(message["process"], dict) or (streams and message["tty"]) or not _are_streams(streams):
        raise EngineError("exec needs a process, and the numbers of its streams")
    ours, theirs = setup.channel_pair()
    child_fds, others = _pipes(streams)

    def child(report: Callable[[int], None]) -> None:
        setup.join_and_run(container.bundle, message, container.pidfd, theirs, report, child_fds)

    try:
        pid, pidfd = forking.spawn_via_helper(child, ours, theirs)
    except BaseException:
        for fd in others:
            os.close(fd)
        ours.close()
        raise
    finally:
        for fd in set(child_fds.values()):
            os.close(fd)
        theirs.close()
    ours.sock.setblocking(False)
    return Execution(ours, pid, (pidfd, *others), answer, ended, tty=bool(message["tty"]))


def _are_streams(streams: Any) -> bool:
    return (
        isinstance(streams, list)
        and sorted(number for group in streams for number in group)
        == sorted({number for group in streams for number in group} & {0, 1, 2})
        and all(group and (group == [0] or 0 not in group) for group in streams)
    )


def _pipes(streams: list[list[int]]) -> tuple[dict[int, int], list[int]]:
    """Stream number → the process's end, and our end of each pipe."""
    child_fds: dict[int, int] = {}
    others = []
    try:
        for numbers in streams:
            reading, writing = os.pipe2(os.O_CLOEXEC)
            theirs, other = (reading, writing) if numbers == [0] else (writing, reading)
            child_fds |= dict.fromkeys(numbers, theirs)
            others.append(other)
    except OSError:
        for fd in {*child_fds.values(), *others}:
            os.close(fd)
        raise
    return child_fds, others
