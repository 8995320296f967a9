"""Creates networks. Concurrent requests form a batch: a few messages to the kernel create all of its networks, and the
host's routes are read once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec import Struct

from engine.errors import EngineError
from engine.net import bridge
from engine.spec.network import NetworkRecord, NetworkSpec
from engine.store import Store


class _Creation(Struct, frozen=True):
    spec: NetworkSpec
    done: asyncio.Future[NetworkRecord]


class Creations:
    """The network creations of one event loop. A request that arrives during a batch joins the next one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[_Creation] = []
        self._working = asyncio.Lock()

    async def create(self, spec: NetworkSpec) -> NetworkRecord:
        """See `bridge.create`."""
        mine = _Creation(spec, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        async with self._working:
            await asyncio.sleep(0)  # the others of this turn of the loop
            creations, self._waiting = self._waiting, []
            try:
                await self._together(creations)
            finally:
                for one in creations:
                    if not one.done.done():
                        one.done.cancel()  # we were cancelled
        return await mine.done

    async def _together(self, creations: Sequence[_Creation]) -> None:
        if not creations:
            return
        try:
            made = await bridge.create_all(self._store, [one.spec for one in creations])
        except Exception as error:
            for one in creations:
                one.done.set_exception(error)
            return
        for one, outcome in zip(creations, made, strict=True):
            if isinstance(outcome, EngineError):
                one.done.set_exception(outcome)
            else:
                one.done.set_result(outcome)
