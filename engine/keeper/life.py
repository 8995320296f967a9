"""The states of a container's life, and the requests that wait for one of them.

MADE ───▶ READY ───▶ STARTING ───▶ RUNNING ───▶ ENDED
│ ▲  └─────────────────▲    (a fork reads `start` when it is ready)
▼ │
REFUSED                     each state may be followed by ENDED
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum


class State(IntEnum):
    MADE = 0
    """The process exists and prepares the container."""
    REFUSED = 1
    """The script met something that only a fork can do: its process exits, and a fork follows."""
    READY = 2
    """The process waits for `start`."""
    STARTING = 3
    """The process has been asked to execute the program."""
    RUNNING = 4
    """The process has executed the program."""
    ENDED = 5
    """The process has exited, and its exit is recorded."""


_NEXT = {
    State.MADE: (State.REFUSED, State.READY, State.STARTING, State.ENDED),
    State.REFUSED: (State.MADE, State.ENDED),
    State.READY: (State.STARTING, State.ENDED),
    State.STARTING: (State.RUNNING, State.ENDED),
    State.RUNNING: (State.ENDED,),
    State.ENDED: (),
}


class Life:
    """One container's state. `when` defers actions until a later state; `settle` checks them again after a change."""

    def __init__(self, state: State = State.MADE) -> None:
        self.state = state
        self._waiting: list[tuple[Callable[[], bool], Callable[[], None]]] = []

    def enter(self, state: State) -> None:
        """Change to the state. Raises RuntimeError for an invalid transition."""
        if state not in _NEXT[self.state]:
            raise RuntimeError(f"a container cannot change from {self.state.name} to {state.name}")
        self.state = state
        self.settle()

    def when(self, guard: Callable[[], bool], then: Callable[[], None]) -> None:
        """Call `then` as soon as `guard` is true, possibly at once. In ENDED every guard must be true."""
        self._waiting.append((guard, then))
        self.settle()

    def settle(self) -> None:
        waiting, self._waiting = self._waiting, []
        for guard, then in waiting:
            if guard():
                then()
            else:
                self._waiting.append((guard, then))
