"""The command of a request: whether it is still there, and what it attaches to before a program starts.

supervisor ──Ready(id)──▶ command ──attach──▶ keeper
     ◀──────Go(id)───────────┘
"""

from __future__ import annotations

import anyio

from composer.run.connection import Connection
from composer.run.protocol import Go, Ready


class Attendance:
    """`scope` is cancelled when the command hangs up."""

    def __init__(self, connection: Connection, scope: anyio.CancelScope) -> None:
        self._connection, self._scope = connection, scope
        self._awaited: dict[str, anyio.Event] = {}
        self._gone = False

    async def listen(self) -> None:
        """Until the command hangs up. Who cannot be cancelled then waits for it no longer."""
        while (said := await self._connection.receive()) is not None:
            if isinstance(said, Go) and said.container_id in self._awaited:
                self._awaited.pop(said.container_id).set()
        self._gone = True
        self._scope.cancel()
        for event in self._awaited.values():
            event.set()

    async def attached(self, container_id: str) -> None:
        """Let the command attach to a container whose program has not started, and wait until it has."""
        if not self._gone:
            event = self._awaited[container_id] = anyio.Event()
            self._connection.tell(Ready(container_id))
            await event.wait()
