"""The services that a build's client offers over its session; the server calls them (moby/buildkit, session/*.proto)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from composer.serve.buildkit import files, wire
from composer.serve.buildkit.grpc import INVALID, NOT_FOUND, UNIMPLEMENTED, Call, Failed, Peer
from composer.serve.change_signal import ChangeSignal
from composer.serve.http.errors import BadRequest, ClientGone
from engine.poll import write_all
from engine.spec.credentials import Credentials
from engine.vocabulary import DOCKER_HUB, HUB_SERVER

if TYPE_CHECKING:
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server

UUID = "x-docker-expose-session-uuid"
SHARED_KEY = "x-docker-expose-session-sharedkey"
"""What the sessions of one client in one folder have in common."""
PATIENCE = 10.0
"""Seconds that a build waits for its session, which uses a separate connection."""


class Sessions:
    """The open sessions by id."""

    def __init__(self) -> None:
        self._peers: dict[str, Peer] = {}
        self._keys: dict[str, str] = {}
        self._change = ChangeSignal()

    def add(self, identity: str, peer: Peer, key: str) -> None:
        self._peers[identity], self._keys[identity] = peer, key
        self._change.notify()

    def remove(self, identity: str, peer: Peer) -> None:
        if self._peers.get(identity) is peer:
            del self._peers[identity], self._keys[identity]

    def key(self, identity: str) -> str:
        """SHARED_KEY of a session, "" if it has none."""
        return self._keys.get(identity, "")

    async def need(self, identity: str) -> Peer:
        """The session with this id; waits for it. Raises Failed when it does not appear."""
        with anyio.move_on_after(PATIENCE):
            while identity not in self._peers:
                await self._change.wait()
        if identity not in self._peers:
            raise Failed(NOT_FOUND, f"no active session for {identity}: context deadline exceeded")
        return self._peers[identity]


async def session(server: Server, request: Request, exchange: Exchange) -> None:
    """`POST /session`: turn the connection around: we call the client on it until it closes."""
    identity = request.headers.get(UUID, "")
    if not identity or not exchange.upgrades:
        raise BadRequest("missing session id" if exchange.upgrades else "no upgrade proto in request")
    peer = Peer(await exchange.hijack("", protocol="h2c"))
    await _run(server, identity, peer, request.headers.get(SHARED_KEY, ""))


async def tunnel(server: Server, call: Call) -> None:
    """Control.Session: the same within a call, whose messages carry the bytes of the connection. Failed."""
    identity = call.metadata.get(UUID, "")
    if not identity:
        raise Failed(INVALID, "missing session id")
    await _run(server, identity, Peer(Tunnel(call)), call.metadata.get(SHARED_KEY, ""))


class Tunnel:
    """A call as a raw two-way stream: BytesMessage (api/services/control)."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def receive(self) -> bytes:
        """b"" when the client has closed its side. ClientGone."""
        try:
            while (data := await self._call.receive()) is not None:
                if part := next(iter(wire.blocks(wire.fields(data), 1)), b""):
                    return part
        except (Failed, wire.Malformed):
            raise ClientGone from None
        return b""

    async def send(self, data: bytes) -> None:
        try:
            await self._call.send(wire.message((1, data)))
        except Failed:
            raise ClientGone from None


async def _run(server: Server, identity: str, peer: Peer, key: str) -> None:
    server.sessions.add(identity, peer, key)
    try:
        await peer.run()
    finally:
        server.sessions.remove(identity, peer)


async def fetch(peer: Peer, name: str, folder: str, *, only: Sequence[str] = (), without: Sequence[str] = ()) -> int:
    """Copy the client's directory `name` to `folder`: only the paths `only`, without matches of `without`. The number
    of bytes received. Raises Failed."""
    encoded = [*only, *without]
    metadata = [("dir-name", name)]
    metadata += [("followpaths", path) for path in only] + [("exclude-patterns", text) for text in without]
    if any(not text.isascii() or not text.isprintable() for text in encoded):
        from urllib.parse import quote

        metadata = [("dir-name", name), ("followpaths-encoded", "1"), ("exclude-patterns-encoded", "1")]
        metadata += [("followpaths", quote(path)) for path in only]
        metadata += [("exclude-patterns", quote(text)) for text in without]
    call = await peer.call("/moby.filesync.v1.FileSync/DiffCopy", metadata)
    try:
        return await files.receive(call, folder)
    finally:
        await peer.cancel(call)


async def upload(peer: Peer, path: str, fd: int) -> None:
    """Write what the client uploads as `path` to a descriptor (session/upload). Failed, OSError."""
    call = await peer.call("/moby.upload.v1.Upload/Pull", [("urlpath", path), ("urlhost", "buildkit-session")])
    try:
        while (data := await call.receive()) is not None:
            for part in wire.blocks(wire.fields(data), 1):
                await to_thread.run_sync(write_all, fd, part)
    finally:
        await peer.cancel(call)


async def secret(peer: Peer, identity: str) -> bytes | None:
    """The client's secret with this id; None if it has none. Raises Failed."""
    try:
        answer = await peer.ask("/moby.buildkit.secrets.v1.Secrets/GetSecret", wire.message((1, identity)))
    except Failed as error:
        if error.status in (NOT_FOUND, UNIMPLEMENTED) or "not found" in error.message:
            return None
        raise
    return next(iter(wire.blocks(wire.fields(answer), 1)), b"")


async def credentials(peer: Peer, registry: str) -> Credentials | None:
    """The client's credentials for a registry (host[:port]); None if it has none. Raises Failed."""
    host = HUB_SERVER if registry == DOCKER_HUB else registry
    try:
        answer = wire.fields(await peer.ask("/moby.filesync.v1.Auth/Credentials", wire.message((1, host))))
    except Failed as error:
        if error.status == UNIMPLEMENTED:
            return None
        raise
    username, secret_ = wire.text(answer, 1), wire.text(answer, 2)
    if not secret_:
        return None
    return Credentials(username, secret_) if username else Credentials(identity_token=secret_)
