"""A blocking connection to a keeper, for exec, attach and builds. client.py is the same for an event loop."""

from __future__ import annotations

import errno
import os
import sys
from collections import deque

from engine import control
from engine.errors import EngineError, KeeperLost, OperationFailed, StartFailed, WrongState
from engine.keeper.protocol import VERSION, Channel, Message
from engine.paths import Roots

TYPE_CHECKING = False  # of typing, which a command need not load for this
if TYPE_CHECKING:
    from collections.abc import Iterator

LOST = "the keeper has exited"


class Connection:
    """Sends one request at a time; events that arrive meanwhile are queued for `event`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._number = 0
        self._warned = False
        self._events: deque[Message] = deque()

    @classmethod
    def open(cls, roots: Roots, group: str) -> Connection:
        """Connect to the group's keeper. Raises OSError when none listens, OtherVersion."""
        return cls(Channel(control.connect(roots.keeper_socket(group), VERSION)))

    def fileno(self) -> int:
        """Readable when there may be an event."""
        return self._channel.fileno()

    @property
    def peer(self) -> int:
        """The keeper's pid."""
        return control.peer(self._channel.sock)[0]

    def ask(self, do: str, **fields: object) -> tuple[Message, list[int]]:
        """Send a request and return the answer with its descriptors, which the caller owns. Raises StartFailed, WrongState
        and EngineError as the keeper reports, OperationFailed when this process may not open the descriptors, KeeperLost."""
        self._number += 1
        try:
            self._channel.send({"n": self._number, "do": do, **fields})
            while (found := self._channel.receive(self._silent)) is not None:
                message, descriptors = found
                if message.get("re") == self._number:
                    return checked(message, descriptors)
                self._events.append(message)
        except OSError as error:
            if error.errno == errno.EMFILE:
                raise OperationFailed.of("receive", "the descriptors of a process", error) from error
            raise KeeperLost(f"the keeper does not answer: {error.strerror or error}") from error
        raise KeeperLost(LOST)

    def _silent(self) -> None:
        """Say once why there is no answer if the keeper was stopped (SIGSTOP)."""
        if not self._warned and control.peer_is_stopped(self._channel.sock):
            self._warned = True
            print(f"The keeper of this project is stopped. To resume it: kill -CONT {self.peer}", file=sys.stderr)

    def notify(self, do: str, **fields: object) -> None:
        """Send a request without an answer. Safe in signal handlers, even during `event`. Raises OSError."""
        self._channel.send({"n": 0, "do": do, **fields})

    def event(self) -> Message:
        """Wait for the next event. Raises KeeperLost."""
        if self._events:
            return self._events.popleft()
        try:
            found = self._channel.receive()
        except OSError as error:
            raise KeeperLost(f"the keeper does not answer: {error.strerror or error}") from error
        if found is None:
            raise KeeperLost(LOST)
        return found[0]

    def events(self) -> Iterator[Message]:
        """The queued events; does not wait."""
        while self._events:
            yield self._events.popleft()
        while (found := self._channel.take()) is not None:
            yield found[0]

    def feed(self) -> bool:
        """Read what makes `fileno` readable; False when the keeper is gone."""
        return self._channel.feed()

    def close(self) -> None:
        self._channel.close()


def checked(message: Message, descriptors: list[int]) -> tuple[Message, list[int]]:
    """The answer and its descriptors, unless it reports a failure: then closes the descriptors and raises StartFailed,
    WrongState if the container is not alive, or EngineError."""
    if "error" not in message:
        return message, descriptors
    for fd in descriptors:
        os.close(fd)
    if "exit_code" in message:
        raise StartFailed(message["error"], exit_code=message["exit_code"])
    if message.get("errno") == errno.ESRCH:
        raise WrongState(message["error"])
    raise EngineError(message["error"])
