"""Attach clients to the streams of a container's first process (Docker Engine API 1.55, ContainerAttach).

A client can attach before the container starts, as `docker run` does, and then misses no output.

    attach: answers, waits ──┐
    start ─▶ supervisor ─Ready▶ the waiting attach, then Go ─▶ program
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from composer.detach import Detach
from composer.serve.docker.detach import sequence
from composer.serve.docker.exec import window
from composer.serve.docker.streams import Pump, stream_type
from composer.serve.http.errors import HTTPError
from composer.serve.http.request import Reply
from composer.serve.http.websocket import WebSocket, accept
from composer.serve.supervised import with_keeper
from composer.view import lookup
from composer.view.errors import Refusal
from engine.errors import EngineError

if TYPE_CHECKING:
    from composer.serve.docker.followers import Follower
    from composer.serve.docker.streams import Client
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server
    from engine.spec.state import ContainerRecord

PATIENCE = 10.0
"""Seconds that a start waits for clients to attach."""


class _Client:
    """A client that waits for the start of its container."""

    def __init__(self) -> None:
        self.ready, self.attached = anyio.Event(), anyio.Event()
        self.failed = False


class Waiting:
    """The clients that wait for containers to start, by container id."""

    def __init__(self) -> None:
        self._clients: dict[str, list[_Client]] = {}

    def add(self, container_id: str) -> _Client:
        client = _Client()
        self._clients.setdefault(container_id, []).append(client)
        return client

    def remove(self, container_id: str, client: _Client) -> None:
        clients = self._clients.get(container_id, [])
        if client in clients:
            clients.remove(client)
        if not clients:
            self._clients.pop(container_id, None)
        client.attached.set()

    def fail(self, container_id: str) -> None:
        """Release the clients of a container that failed to start."""
        for client in self._clients.get(container_id, []):
            client.failed = True
            client.ready.set()

    def attach_to(self, container_id: str) -> Callable[[str], Awaitable[None]] | None:
        """A function that a start awaits before the program runs; None if no client waits for this container."""
        if container_id not in self._clients:
            return None

        async def attach(started: str) -> None:
            clients = self._clients.get(started, [])
            for client in list(clients):
                client.ready.set()
            with anyio.move_on_after(PATIENCE):
                for client in list(clients):
                    await client.attached.wait()

        return attach


async def attach(server: Server, request: Request, exchange: Exchange) -> None:
    await _attach(server, request, lambda record: exchange.hijack(stream_type(request, exchange, tty=record.spec.tty)))


async def websocket(server: Server, request: Request, exchange: Exchange) -> None:
    """The same over a WebSocket. Its messages contain the raw output of both streams, without frames."""

    async def shake_hands(_: ContainerRecord) -> WebSocket:
        return await accept(request, exchange)

    await _attach(server, request, shake_hands, framed=False)


async def _attach(
    server: Server,
    request: Request,
    take_over: Callable[[ContainerRecord], Awaitable[Client]],
    *,
    framed: bool = True,
) -> None:
    record = lookup.container(server.engine, request.arguments["id"])
    wanted = {number for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")) if request.flag(name)}
    live = request.flag("stream")
    escape = Detach(sequence(request.query("detachKeys"))) if record.spec.tty else None
    client = server.waiting.add(record.id) if live and not record.state.status.alive else None
    try:
        raw = await take_over(record)
        server.journal.container("attach", record)
        if request.flag("logs"):
            await _history(server, record, raw, wanted, framed=framed)
        if live:
            await _live(server, record, raw, wanted, client, escape, framed=framed)
    finally:
        if client is not None:
            server.waiting.remove(record.id, client)
    await raw.end()


async def _history(server: Server, record: ContainerRecord, raw: Client, wanted: set[int], *, framed: bool) -> None:
    from composer.serve.docker.logs import Form

    reader = server.engine.logs(record.group, record.id)
    try:
        form = Form(record, wanted - {0}, timestamps=False)
        while entries := reader.read():
            await raw.send(
                form.bytes_of(entries)
                if framed
                else "".join(entry.text for entry in entries).encode(errors="surrogateescape")
            )
    finally:
        reader.close()


async def _copy(
    server: Server,
    record: ContainerRecord,
    raw: Client,
    stream: int,
    wanted: set[int],
    escape: Detach | None,
    *,
    framed: bool,
) -> None:
    """Copy between the client and a container's stream, until the container exits or the client detaches."""
    async with anyio.create_task_group() as tasks:
        pump = Pump(raw)
        tasks.start_soon(server.observer.outputs.note, record.id, pump)
        input_ended = anyio.Event()

        async def copy_input(fd: int) -> None:
            if await pump.half_closing(fd, escape):
                server.journal.container("detach", record)
                tasks.cancel_scope.cancel()
            input_ended.set()

        output = os.dup(stream)
        if 0 in wanted:
            tasks.start_soon(copy_input, os.dup(stream))
        else:
            input_ended.set()
        with anyio.CancelScope() as connected:
            tasks.start_soon(_until_disconnected, raw, connected)
            if record.spec.tty or (framed and wanted >= {1, 2}):
                await pump.plain(output)
            else:
                await pump.chosen(output, wanted, framed=framed)
            await pump.read()
        if connected.cancelled_caught:
            await input_ended.wait()  # what the client sent before it left
        tasks.cancel_scope.cancel()


async def _live(
    server: Server,
    record: ContainerRecord,
    raw: Client,
    wanted: set[int],
    client: _Client | None,
    escape: Detach | None,
    *,
    framed: bool,
) -> None:
    if client is not None and not await _started(server, record, raw, client):
        return
    try:
        process = await with_keeper(
            server, record.group, lambda: server.engine.attach(record.group, record.id, stdin=0 in wanted)
        )
    except EngineError:
        return  # it has already exited
    if client is not None:
        client.attached.set()
    try:
        assert process.stream is not None
        os.set_blocking(process.stream, False)
        await _copy(server, record, raw, process.stream, wanted, escape, framed=framed)
    finally:
        process.close()


async def _until_disconnected(raw: Client, scope: anyio.CancelScope) -> None:
    await raw.disconnected()
    scope.cancel()


async def _started(server: Server, record: ContainerRecord, raw: Client, client: _Client) -> bool:
    """Wait until any command starts the container; False if the client disconnects or the container is removed."""
    up = False

    async def by_others(follower: Follower, scope: anyio.CancelScope) -> None:
        nonlocal up
        while True:
            await follower.changed()
            try:
                state = lookup.container(server.engine, record.id).state
            except Refusal:
                break
            if client.ready.is_set():
                return
            if state.status.alive:
                up = True
                break
            if state.finished_at > record.state.finished_at:
                break
        scope.cancel()

    with server.observer.follow(record) as follower:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(by_others, follower, tasks.cancel_scope)
            tasks.start_soon(_until_disconnected, raw, tasks.cancel_scope)
            await client.ready.wait()
            up = not client.failed
            tasks.cancel_scope.cancel()
    return up


async def resize(server: Server, request: Request, exchange: Exchange) -> Reply:
    record = lookup.container(server.engine, request.arguments["id"])
    rows, columns = window(request)
    if not record.state.status.alive:
        raise HTTPError(409, f"container {record.id} is not running")

    def work() -> None:
        process = server.engine.attach(record.group, record.id, stdin=False)
        try:
            process.resize(rows, columns)
        finally:
            process.close()

    await to_thread.run_sync(work, limiter=server.keepers[record.group])
    server.journal.container("resize", record, height=str(rows), width=str(columns))
    return Reply()
