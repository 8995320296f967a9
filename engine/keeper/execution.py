"""A further process in a container (exec), from the fork to its end."""

from __future__ import annotations

import os
from collections.abc import Callable

from engine.errors import EngineError
from engine.keeper import forking
from engine.keeper.child import setup
from engine.keeper.container import Container
from engine.keeper.protocol import Channel, Message

TYPE_CHECKING = False  # of typing, which a keeper need not load
if TYPE_CHECKING:
    from typing import Any


class Execution:
    """`owner` is whom its end is told, with `number` of the request; `answer` settles the request."""

    def __init__(
        self,
        owner: Any,
        number: int,
        child: Channel,
        pid: int,
        pidfd: int,
        answer: Callable[[Message, tuple[int, ...]], None],
    ) -> None:
        self.owner, self.number, self.child, self.pid = owner, number, child, pid
        self._pidfd = pidfd
        self._answer = answer
        self._master = -1
        self._failure: Message | None = None
        self.answered = False

    def read(self) -> bool:
        """Take what the child says about its start; False when it has said all: it was executed, or never will be."""
        try:
            open_still = self.child.feed()
        except BlockingIOError:
            return True
        except OSError:
            open_still = False
        while (found := self.child.take()) is not None:
            message, descriptors = found
            if message["event"] == "terminal":
                self._master = descriptors[0]
            elif message["event"] == "failed":
                self._failure = {"error": message["error"], "exit_code": message["exit_code"]}
        return open_still

    def settle(self) -> None:
        """Answer the request; the answer carries a pidfd, and the terminal's master."""
        if self.answered:
            return
        self.answered = True
        self.child.close()
        descriptors = tuple(fd for fd in (self._pidfd, self._master) if fd >= 0)
        self._answer(self._failure or {"pid": self.pid}, () if self._failure else descriptors)
        for fd in descriptors:
            os.close(fd)


def fork(
    container: Container,
    message: Message,
    stdio: list[int],
    owner: Any,
    answer: Callable[[Message, tuple[int, ...]], None],
) -> Execution:
    """Fork a process that joins the container and executes the request's program. Raises EngineError, OSError."""
    number = message["n"]
    if len(stdio) != 3 or not isinstance(message["process"], dict):
        raise EngineError("exec needs a process and three descriptors")
    ours, theirs = setup.channel_pair()

    def child(reporting: int) -> None:
        for target, fd in enumerate(stdio):
            os.dup2(fd, target)
        setup.join_and_run(container.bundle, message, container.pidfd, theirs, reporting)

    try:
        pid, pidfd = forking.spawn_via_helper(child, ours, theirs)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    ours.sock.setblocking(False)
    return Execution(owner, number, ours, pid, pidfd, answer)
