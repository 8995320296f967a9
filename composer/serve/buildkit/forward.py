"""Forward the client's SSH agent: a local socket whose connections go through the session (moby/buildkit,
session/sshforward)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import SocketStream

from composer.serve.buildkit import wire
from composer.serve.buildkit.grpc import Failed, Peer
from composer.serve.http.errors import ClientGone

METHODS = "/moby.sshforward.v1.SSH/"
ID = "buildkit.ssh.id"


async def offered(peer: Peer, identity: str) -> bool:
    """Whether the client offers an agent or keys with this id."""
    try:
        await peer.ask(f"{METHODS}CheckAgent", wire.message((1, identity)))
    except Failed:
        return False
    return True


@asynccontextmanager
async def agent(peer: Peer, identity: str, path: str) -> AsyncIterator[None]:
    """A context manager that listens on `path`, in a folder of our own, and forwards each connection to the agent."""

    async def serve(stream: SocketStream) -> None:
        async with stream:
            try:
                await _relay(peer, identity, stream)
            except (Failed, ClientGone, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return

    async with await anyio.create_unix_listener(path, mode=0o600) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield
        tasks.cancel_scope.cancel()


async def _relay(peer: Peer, identity: str, stream: SocketStream) -> None:
    call = await peer.call(f"{METHODS}ForwardAgent", [(ID, identity)])
    try:
        async with anyio.create_task_group() as tasks:

            async def out() -> None:
                while (data := await call.receive()) is not None:
                    for part in wire.blocks(wire.fields(data), 1):
                        await stream.send(part)
                tasks.cancel_scope.cancel()

            tasks.start_soon(out)
            async for data in stream:
                await call.send(wire.message((1, data)))
            await call.close()
    finally:
        with anyio.CancelScope(shield=True):
            await peer.cancel(call)
