"""Output that is being sent to attached clients. A container's exit is reported after its last output, because clients
that quit at the exit (`docker compose up --abort-on-container-exit`) would otherwise miss the rest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

from composer.serve.change_signal import ChangeSignal
from composer.serve.docker.streams import PATIENCE

if TYPE_CHECKING:
    from composer.serve.docker.streams import Pump


class Outputs:
    """The pumps to clients, by container id."""

    def __init__(self) -> None:
        self._pumps: dict[str, list[Pump]] = {}
        self._change = ChangeSignal()

    async def note(self, container_id: str, pump: Pump) -> None:
        """Register a container's pump until cancelled."""
        pumps = self._pumps.setdefault(container_id, [])
        pumps.append(pump)
        try:
            await anyio.sleep_forever()
        finally:
            pumps.remove(pump)
            if not pumps:
                self._pumps.pop(container_id, None)
            self._change.notify()

    def busy(self, container_id: str) -> bool:
        return container_id in self._pumps

    async def drained(self, container_id: str) -> None:
        """Wait until the container's pumps have finished or are stuck."""
        sent, since = -1, time.monotonic()
        while pumps := self._pumps.get(container_id):
            if (now := sum(pump.sent for pump in pumps)) != sent:
                sent, since = now, time.monotonic()
            elif time.monotonic() - since > PATIENCE:
                return
            with anyio.move_on_after(PATIENCE):
                await self._change.wait()
