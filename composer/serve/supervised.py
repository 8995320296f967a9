"""Perform changes through a group's supervisor: each project has one, and all other containers share one."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from anyio import to_thread

from composer.plan.options import Options
from composer.run.client import ATTEMPTS, Client
from composer.run.protocol import BEGUN, End, Frames, Go, Ready, Request, Step, event_of, frame
from composer.serve.descriptors import read, write
from composer.serve.errors import failed

if TYPE_CHECKING:
    from composer.plan.operations import Change
    from composer.run.handles import Process
    from composer.serve.server import Server

CAUSE = "requested through the Docker API"
"""The cause of each operation."""


Attach = Callable[[str], Awaitable[None]]
Begun = Callable[[], Awaitable[None]]


async def perform(
    server: Server, group: str, *operations: Change, attach: Attach | None = None, begun: Begun | None = None
) -> End:
    """Perform operations through the group's supervisor. Raises HTTPError for the first failure.

    With `attach`, each container starts only after `attach` has returned for its id. `begun` is called once, when the
    supervisor begins. A cancelled request is also cancelled in the supervisor, which finishes operations that have
    begun.
    """
    listener = _Listener(attach, begun)
    request = Request(
        options=Options(action="api", attach=("",) if attach is not None else ()), operations=tuple(operations)
    )
    client = Client(server.roots, group, server.environ)
    for _ in range(ATTEMPTS):
        sock = await to_thread.run_sync(client.open, limiter=server.keepers[group])
        with sock:
            sock.setblocking(False)
            end = await _ask(sock, request, listener)
        if end is not None:
            server.observer.look(group)
            server.observer.look_shared()
            if end.failures:
                failure = end.failures[0]
                raise failed(failure.error, failure.message.partition("\n")[0])
            return end
    raise failed("SupervisorLost", f"the supervisor of group {group} died {ATTEMPTS} times during this request")


async def with_keeper(server: Server, group: str, opens: Callable[[], Process]) -> Process:
    """See `composer.run.client.Client.with_keeper`."""
    client = Client(server.roots, group, server.environ)
    return await to_thread.run_sync(lambda: client.with_keeper(opens, server.log), limiter=server.keepers[group])


class _Listener:
    """Callbacks for the supervisor's messages: the request has begun; a container waits for clients to attach."""

    def __init__(self, attach: Attach | None, begun: Begun | None) -> None:
        self._attach, self._begun = attach, begun

    async def ready(self, container_id: str) -> None:
        if self._attach is not None:
            await self._attach(container_id)

    async def begun(self) -> None:
        begun, self._begun = self._begun, None
        if begun is not None:
            await begun()


async def _ask(sock: socket.socket, request: Request, listener: _Listener) -> End | None:
    """Send the request and wait for its end; None when the supervisor dies."""
    frames = Frames()
    if not await write(sock.fileno(), frame(request)):
        return None
    while data := await read(sock.fileno()):
        for one in frames.feed(data):
            event = event_of(one)
            if isinstance(event, Ready):
                await listener.ready(event.container_id)
                await write(sock.fileno(), frame(Go(event.container_id)))
            elif isinstance(event, Step) and event.state == BEGUN:
                await listener.begun()
            elif isinstance(event, End):
                if event.last:
                    while await read(sock.fileno()):
                        pass
                return event
    return None
