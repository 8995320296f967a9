"""Serves at a published port what the packet rules do not reach: loopback addresses, and IPv6 for a container that has
none. A packet from a loopback address could leave the host only if all were let in that are for one (route_localnet)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence

from engine.spec.container import PortBinding

MAX_CONNECTIONS = 512
"""Connections proxied at once for one port; more wait in the listen queue."""

CONNECT_TIMEOUT = 10.0
"""Seconds that the container has to accept a connection."""

UDP_IDLE = 60.0
"""Seconds after which a quiet UDP peer is forgotten."""


class Proxy:
    """Copies between a reservation's sockets and the container's addresses ("" for none) until closed: IPv6 to IPv6 where
    the container has it, but for a connection that it takes by IPv4 only."""

    def __init__(self, sockets: Sequence[tuple[socket.socket, PortBinding]], v4: str, v6: str) -> None:
        self._sockets = [sock for sock, _ in sockets]
        self._connections: set[asyncio.Task[None]] = set()
        self._tasks = []
        for sock, port in sockets:
            addresses = (v6, v4) if sock.family == socket.AF_INET6 else (v4, v6)
            targets = [(address, port.container_port) for address in addresses if address]
            work = self._datagrams(sock, targets[0]) if port.protocol == "udp" else self._stream(sock, targets)
            self._tasks.append(asyncio.ensure_future(work))

    def close(self) -> None:
        """Stop; the sockets may be closed right after."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.remove_reader(sock)
            loop.remove_writer(sock)
        for task in (*self._tasks, *self._connections):
            task.cancel()

    async def _stream(self, listener: socket.socket, targets: Sequence[tuple[str, int]]) -> None:
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
            task = asyncio.ensure_future(_connection(near, targets))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
            task.add_done_callback(lambda _: slots.release())

    async def _datagrams(self, sock: socket.socket, target: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        peers: dict[object, tuple[socket.socket, asyncio.Task[None]]] = {}
        try:
            while True:
                try:
                    data, peer = await loop.sock_recvfrom(sock, 65535)
                except OSError:
                    continue
                if peer not in peers:
                    if len(peers) >= MAX_CONNECTIONS:
                        continue
                    far = _socket(target, socket.SOCK_DGRAM)
                    with contextlib.suppress(OSError):
                        far.connect(target)
                    task = asyncio.ensure_future(_replies(sock, far, peer))
                    peers[peer] = far, task
                    task.add_done_callback(lambda _, gone=peer: peers.pop(gone))  # type: ignore[misc]
                with contextlib.suppress(OSError):
                    peers[peer][0].send(data)
        finally:
            for _, task in list(peers.values()):
                task.cancel()


async def _connection(near: socket.socket, targets: Sequence[tuple[str, int]]) -> None:
    """One connection, to its end on both sides. An error on one side ends the other."""
    near.setblocking(False)
    with near, contextlib.suppress(OSError, TimeoutError):
        with await _connected(targets, near.proto) as far:
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_copy(near, far))
                    both.create_task(_copy(far, near))
            except* OSError:
                pass


async def _connected(targets: Sequence[tuple[str, int]], protocol: int) -> socket.socket:
    """A connection to the first of the targets that does not refuse it."""
    for target in targets:
        far = _socket(target, socket.SOCK_STREAM, protocol)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(far, target), CONNECT_TIMEOUT)
            return far
        except ConnectionRefusedError:
            far.close()
        except BaseException:
            far.close()
            raise
    raise ConnectionRefusedError


async def _copy(source: socket.socket, target: socket.socket) -> None:
    """Until the source ends; the end is passed on, so that the other direction may go on."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, 65536):
        await loop.sock_sendall(target, data)
    target.shutdown(socket.SHUT_WR)


async def _replies(sock: socket.socket, far: socket.socket, peer: object) -> None:
    loop = asyncio.get_running_loop()
    try:
        while True:
            data = await asyncio.wait_for(loop.sock_recv(far, 65535), UDP_IDLE)
            with contextlib.suppress(BlockingIOError):
                sock.sendto(data, peer)  # type: ignore[call-overload]
    except (OSError, TimeoutError):
        pass
    finally:
        far.close()


def _socket(target: tuple[str, int], kind: socket.SocketKind, protocol: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET, kind, protocol)
    sock.setblocking(False)
    return sock
