"""The engine's side of a keeper's socket: an asyncio client for the session."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from engine import control
from engine.errors import EngineError, KeeperLost
from engine.keeper.connection import LOST, checked
from engine.keeper.protocol import VERSION, Channel, Message
from engine.paths import Roots
from engine.readable import Readable

_AT_ONCE = 64
"""How many reads are made before others have their turn."""


class KeeperClient:
    """One connection. Requests may overlap; `exits` yields the exits of containers. Raises KeeperLost when the keeper
    has exited."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._number = 0
        self._waiting: dict[int, asyncio.Future[tuple[Message, list[int]]]] = {}
        self._execs: dict[int, asyncio.Future[int]] = {}
        self._exits: asyncio.Queue[Message | None] = asyncio.Queue()
        self.lost = False
        channel.sock.setblocking(False)
        self._connection = Readable(channel, self._read)

    @classmethod
    def connect(cls, roots: Roots, group: str, version: str = VERSION) -> KeeperClient | None:
        """A connection to the group's keeper, None when none listens. Raises OtherVersion; "" takes any."""
        try:
            return cls(Channel(control.connect(roots.keeper_socket(group), version)))
        except OSError:
            return None

    async def ask(self, do: str, descriptors: tuple[int, ...] = (), **fields: object) -> tuple[Message, list[int]]:
        """One request and its answer, with its descriptors. Raises EngineError as the keeper
        reports."""
        _, reply = self._send(do, descriptors, fields)
        return await _answer(reply)

    async def execute(self, **fields: object) -> tuple[int, list[int], asyncio.Future[int]]:
        """Start a further process: its pidfd and our ends of its `streams`, which are the caller's, and its exit code to come."""
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        number, reply = self._send("exec", (), {"tty": False, **fields})
        self._execs[number] = ended
        try:
            _, (pidfd, *streams) = await _answer(reply)
        except EngineError:
            self._execs.pop(number, None)
            raise
        return pidfd, streams, ended

    async def exits(self) -> AsyncIterator[Message]:
        """Exits of containers; the iteration stops when the keeper is gone."""
        while (message := await self._exits.get()) is not None:
            yield message

    def close(self) -> None:
        if not self.lost:
            self.lost = True
            self._connection.close()
            self._fail()

    def _send(
        self, do: str, descriptors: tuple[int, ...], fields: dict[str, object]
    ) -> tuple[int, asyncio.Future[tuple[Message, list[int]]]]:
        if self.lost:
            raise KeeperLost(LOST)
        self._number += 1
        reply: asyncio.Future[tuple[Message, list[int]]] = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = reply
        try:
            if not self._channel.post({"n": self._number, "do": do, **fields}, descriptors):
                self._connection.when_writable(self._flush)
        except OSError as error:
            self.close()
            raise KeeperLost(LOST) from error
        return self._number, reply

    def _flush(self) -> None:
        try:
            if self._channel.flush():
                self._connection.when_writable(None)
        except OSError:
            self.close()

    def _read(self) -> None:
        """Handle what has arrived. Descriptors end a read, so each answer with some takes one; containers whose answers
        are handled together are connected together (`Wiring.connect`)."""
        for _ in range(_AT_ONCE):
            try:
                open_still = self._channel.feed()
            except BlockingIOError:
                return
            except OSError:
                open_still = False
            while (found := self._take()) is not None:
                self._handle(*found)
            if self.lost or not open_still:
                self.close()
                return

    def _handle(self, message: Message, descriptors: list[int]) -> None:
        if "re" in message:
            reply = self._waiting.pop(message["re"], None)
            if reply is not None and not reply.done():
                reply.set_result((message, descriptors))
                descriptors = []
        elif message.get("event") == "exec":
            ended = self._execs.pop(message["n"], None)
            if ended is not None and not ended.done():
                ended.set_result(message["exit_code"])
        elif message.get("event") == "exit":
            self._exits.put_nowait(message)
        for fd in descriptors:  # the request was cancelled
            os.close(fd)

    def _take(self) -> tuple[Message, list[int]] | None:
        try:
            return self._channel.take()
        except ValueError:  # not a message of our protocol
            self.close()
            return None

    def _fail(self) -> None:
        error = KeeperLost(LOST)
        waiting: list[asyncio.Future[Any]] = [*self._waiting.values(), *self._execs.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # mark the exception as retrieved: the caller may no longer wait for the exec
        self._waiting.clear()
        self._execs.clear()
        self._exits.put_nowait(None)


async def _answer(reply: asyncio.Future[tuple[Message, list[int]]]) -> tuple[Message, list[int]]:
    """Wait for it. If cancelled just as it arrives, its descriptors are closed."""
    try:
        return checked(*await reply)
    except asyncio.CancelledError:
        if reply.done() and not reply.cancelled() and reply.exception() is None:
            for fd in reply.result()[1]:
                os.close(fd)
        raise
