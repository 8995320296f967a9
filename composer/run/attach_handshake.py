"""The command of a request: detect that it hangs up, and let it attach before a program starts.

supervisor ──Ready(id)──▶ command ──attach──▶ keeper
     ◀──────Go(id)───────────┘
"""

from __future__ import annotations

from collections.abc import Callable

from anyio import Event

from composer.run.connection import Connection
from composer.run.protocol import Go, Ready


class AttachHandshake:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._awaited: dict[str, Event] = {}
        self._hung_up = False

    async def listen(self, cancel: Callable[[], object]) -> None:
        """Wait until the command hangs up, then cancel its request. What cannot be cancelled no longer waits for the command."""
        while (message := await self._connection.receive()) is not None:
            if isinstance(message, Go) and message.container_id in self._awaited:
                self._awaited.pop(message.container_id).set()
        self._hung_up = True
        cancel()
        for event in self._awaited.values():
            event.set()

    async def attached(self, container_id: str) -> None:
        """Let the command attach to a container whose program has not started, and wait until it has. A command that is
        suspended misses the first output."""
        if not self._hung_up:
            event = self._awaited[container_id] = Event()
            self._connection.send(Ready(container_id))
            await self._connection.wait_for_peer(event.wait)
