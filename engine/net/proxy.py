"""Serves at a published port what the packet rules do not reach: [::1], hosts without iptables, other families."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from engine.spec.container import PortBinding

MAX_CONNECTIONS = 512
"""Connections proxied at once for one port; more wait in the listen queue."""

UDP_IDLE = 60.0
"""Seconds after which a quiet UDP peer is forgotten."""


class Proxy:
    """Copies between the sockets of a reservation and the container's address until closed."""

    def __init__(self, sockets: list[tuple[socket.socket, PortBinding]], address: str) -> None:
        self._tasks = [
            asyncio.ensure_future(
                self._stream(sock, address, port.container_port)
                if port.protocol == "tcp"
                else self._datagrams(sock, address, port.container_port)
            )
            for sock, port in sockets
        ]
        self._connections: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        for task in (*self._tasks, *self._connections):
            task.cancel()

    async def _stream(self, listener: socket.socket, address: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        slots = asyncio.Semaphore(MAX_CONNECTIONS)
        while True:
            await slots.acquire()
            try:
                near, _ = await loop.sock_accept(listener)
            except OSError:
                slots.release()
                await asyncio.sleep(0.1)  # out of descriptors: let some be closed
                continue
            task = asyncio.ensure_future(self._connection(near, address, port))
            self._connections.add(task)
            task.add_done_callback(lambda done: (self._connections.discard(done), slots.release()))

    async def _connection(self, near: socket.socket, address: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        near.setblocking(False)
        with near, socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as far:
            far.setblocking(False)
            with contextlib.suppress(OSError):
                await asyncio.wait_for(loop.sock_connect(far, (address, port)), 10)
                await asyncio.gather(_copy(near, far), _copy(far, near))

    async def _datagrams(self, sock: socket.socket, address: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        peers: dict[object, socket.socket] = {}
        replies: dict[object, asyncio.Task[None]] = {}
        try:
            while True:
                data, peer = await loop.sock_recvfrom(sock, 65535)
                far = peers.get(peer)
                if far is None:
                    if len(peers) >= MAX_CONNECTIONS:
                        continue
                    far = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
                    far.setblocking(False)
                    far.connect((address, port))
                    peers[peer] = far
                    replies[peer] = asyncio.ensure_future(self._replies(sock, far, peer, peers))
                with contextlib.suppress(OSError):
                    await loop.sock_sendall(far, data)
        finally:
            for task in replies.values():
                task.cancel()

    @staticmethod
    async def _replies(sock: socket.socket, far: socket.socket, peer: object, peers: dict[object, socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                data = await asyncio.wait_for(loop.sock_recv(far, 65535), UDP_IDLE)
                await loop.sock_sendto(sock, data, peer)  # type: ignore[arg-type]
        except (OSError, asyncio.TimeoutError):
            pass
        finally:
            peers.pop(peer, None)
            far.close()


async def _copy(source: socket.socket, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(source, 65536):
            await loop.sock_sendall(target, data)
    finally:
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
