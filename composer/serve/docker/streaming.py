"""Long answers: they end when the client has gone, and threads' reports reach them in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from composer.serve.http.connection import Exchange


@asynccontextmanager
async def while_connected(exchange: Exchange) -> AsyncIterator[None]:
    """What is done in here is cancelled, and the block left, when the client closes its connection."""
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            await exchange.gone()
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        yield
        tasks.cancel_scope.cancel()
