"""Long answers: they stop when the client disconnects, and keep reports from threads in order."""

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

from composer.serve.descriptors import pipe, read, write
from composer.serve.errors import described_error
from composer.serve.http.errors import HTTPError
from composer.view.errors import Refusal
from engine.errors import EngineError

if TYPE_CHECKING:
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request

T = TypeVar("T")
NONE: Mapping[str, str] = {}


@asynccontextmanager
async def while_connected(exchange: Exchange) -> AsyncIterator[None]:
    """A context manager whose block is cancelled when the client closes its connection."""
    async with collapsed(), anyio.create_task_group() as tasks:

        async def watch() -> None:
            await exchange.disconnected()
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        yield
        tasks.cancel_scope.cancel()


class Cancellation:
    """Cancels a thread's work when the surrounding block is cancelled: `begun` receives the function that cancels the
    work."""

    def __init__(self) -> None:
        self._end: Callable[[], None] | None = None
        self.wanted = False
        """Whether cancellation was requested."""
        self._lock = threading.Lock()

    def begun(self, end: Callable[[], None]) -> None:
        with self._lock:
            self._end = end
        if self.wanted:
            end()

    async def run(self, work: Callable[[], T], limiter: anyio.CapacityLimiter | None = None) -> T:
        """Run `work` in a thread to completion. After a cancellation it ends soon."""

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
    """Run `work` in a thread with a descriptor to read the request's body from; returns its result.

    The body goes through a pipe, so the client waits while the thread does not read. Raises ClientGone.
    """
    reading, writing = pipe()
    os.set_blocking(writing, False)
    begun = False

    def run() -> T:
        nonlocal begun
        begun = True
        try:
            return work(reading)
        finally:
            os.close(reading)

    async def feed() -> None:
        try:
            async for part in request.body():
                if not await write(writing, part):
                    return  # it has read all that it needs
        finally:
            os.close(writing)

    try:
        async with collapsed(), anyio.create_task_group() as tasks:
            tasks.start_soon(feed)
            result = await to_thread.run_sync(run)
            tasks.cancel_scope.cancel()
        return result
    finally:
        if not begun:  # cancelled while it waited for a thread
            os.close(reading)


async def download(
    exchange: Exchange, media: str, work: Callable[[int], None], headers: Mapping[str, str] = NONE
) -> None:
    """Run `work` in a thread with a descriptor to write the answer's body to.

    The headers are sent with the first bytes, so that an earlier failure can still be answered with an error status.
    """
    reading, writing = pipe()
    os.set_blocking(reading, False)
    begun = False

    def run() -> None:
        nonlocal begun
        begun = True
        try:
            work(writing)
        except BrokenPipeError:
            pass  # the client has disconnected
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

    try:
        async with collapsed(), anyio.create_task_group() as tasks:
            tasks.start_soon(copy)
            await to_thread.run_sync(run)
    finally:
        if not begun:
            os.close(writing)


@asynccontextmanager
async def collapsed() -> AsyncIterator[None]:
    """A context manager that replaces an exception group with one error by that error."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


class Reporter:
    """Sends lines of JSON that a thread reports, at once; the headers go with the first.

    As in Docker, a failure before the first line has an error status, and a later one is the last line.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange, self._begun = exchange, False
        self.failed = False
        self._loop = asyncio.get_running_loop()

    async def send(self, line: Mapping[str, object]) -> None:
        if not self._begun:
            self._begun = True
            await self._exchange.begin(200, {"Content-Type": "application/json"})
        await self._exchange.send(msgspec.json.encode(line) + b"\r\n")

    def report(self, line: Mapping[str, object]) -> None:
        """The same, from the thread or its child threads; waits while the client does not read. Raises ClientGone."""
        asyncio.run_coroutine_threadsafe(self.send(line), self._loop).result()

    async def run(self, work: Callable[[], T], cancellation: Cancellation | None = None) -> T | None:
        """Run `work` in a thread. Returns None if its failure was reported as a line."""
        try:
            return await (cancellation or Cancellation()).run(work)
        except (EngineError, Refusal) as error:
            failure = described_error(error)
        except HTTPError as error:
            failure = error
        self.failed = True
        if not self._begun:
            raise failure
        detail = {"code": failure.code} if failure.code else {}
        await self.send({"errorDetail": {**detail, "message": failure.message}, "error": failure.message})
        return None
