"""Long answers: they end when the client disconnects, and reports of threads reach them in order."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import anyio
import msgspec
from anyio import to_thread

from composer.serve.descriptors import read, write
from composer.serve.errors import described_error
from composer.serve.http.errors import HTTPError
from composer.view.errors import Refusal
from engine.errors import EngineError

if TYPE_CHECKING:
    from composer.serve.http.connection import Exchange
    from composer.serve.http.request import Request

T = TypeVar("T")
NONE: Mapping[str, str] = {}


@asynccontextmanager
async def while_connected(exchange: Exchange) -> AsyncIterator[None]:
    """What is done in here is cancelled, and the block left, when the client closes its connection."""
    async with collapsed(), anyio.create_task_group() as tasks:

        async def watch() -> None:
            await exchange.gone()
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        yield
        tasks.cancel_scope.cancel()


class Cancellation:
    """Ends what a thread does when the block around it is cancelled: `begun` takes the function by which it is ended."""

    def __init__(self) -> None:
        self._end: Callable[[], None] | None = None
        self.wanted = False
        """Whether the end is wanted."""
        self._lock = threading.Lock()

    def begun(self, end: Callable[[], None]) -> None:
        with self._lock:
            self._end = end
        if self.wanted:
            end()

    async def run(self, work: Callable[[], T], limiter: anyio.CapacityLimiter | None = None) -> T:
        """Run `work` in a thread to its end, which comes soon after a cancellation."""

        async def watch() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with self._lock:
                    self.wanted, end = True, self._end
                if end is not None:
                    end()

        async with collapsed(), anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            result = await to_thread.run_sync(work, limiter=limiter)
            self._end = None
            tasks.cancel_scope.cancel()
        return result


async def upload(request: Request, work: Callable[[int], T]) -> T:
    """Run `work` in a thread with a descriptor from which it reads the request's body; its result.

    The body passes through a pipe: what the thread does not read waits at the client. ClientGone.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def run() -> T:
        try:
            return work(reading)
        finally:
            os.close(reading)

    async def feed() -> None:
        try:
            async for part in request.body():
                if not await write(writing, part):
                    return  # it has read all that it wants
        finally:
            os.close(writing)

    async with collapsed(), anyio.create_task_group() as tasks:
        tasks.start_soon(feed)
        result = await to_thread.run_sync(run)
        tasks.cancel_scope.cancel()
    return result


async def download(
    exchange: Exchange, media: str, work: Callable[[int], None], headers: Mapping[str, str] = NONE
) -> None:
    """Run `work` in a thread with a descriptor to which it writes the answer's body.

    The headers are sent with the first bytes, so that a failure before them is an error of its own.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)

    def run() -> None:
        try:
            work(writing)
        except BrokenPipeError:
            pass  # the client has gone
        finally:
            os.close(writing)

    async def copy() -> None:
        begun = False
        try:
            while data := await read(reading):
                if not begun:
                    await exchange.begin(200, {"Content-Type": media, **headers})
                    begun = True
                await exchange.send(data)
        finally:
            os.close(reading)

    async with collapsed(), anyio.create_task_group() as tasks:
        tasks.start_soon(copy)
        await to_thread.run_sync(run)


@asynccontextmanager
async def collapsed() -> AsyncIterator[None]:
    """One error leaves a task group as itself, not as a group of one."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


class Reporter:
    """Lines of JSON that a thread's work reports, sent as they come; the headers go with the first.

    A failure before the first line is an error with a status; after it, it is the last line, as with Docker.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange, self._begun = exchange, False
        self._loop = asyncio.get_running_loop()

    async def send(self, line: Mapping[str, object]) -> None:
        if not self._begun:
            self._begun = True
            await self._exchange.begin(200, {"Content-Type": "application/json"})
        await self._exchange.send(msgspec.json.encode(line) + b"\r\n")

    def tell(self, line: Mapping[str, object]) -> None:
        """The same, from the thread or one of its own; waits while the client does not read. ClientGone."""
        asyncio.run_coroutine_threadsafe(self.send(line), self._loop).result()

    async def run(self, work: Callable[[], T], cancellation: Cancellation | None = None) -> T | None:
        """Run `work` in a thread; None when its failure has been reported as a line."""
        try:
            return await (cancellation or Cancellation()).run(work)
        except (EngineError, Refusal) as error:
            failure = described_error(error)
        except HTTPError as error:
            failure = error
        if not self._begun:
            raise failure
        detail = {"code": failure.code} if failure.code else {}
        await self.send({"errorDetail": {**detail, "message": failure.message}, "error": failure.message})
        return None
