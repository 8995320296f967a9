"""The DNS server at 127.0.0.11 of each container. Its sockets were opened inside the container's network namespace."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import Sequence

from engine.net import dnsmessage
from engine.net.names import Names

FORWARD_TIMEOUT = 5.0
"""Seconds given to each of the host's resolvers."""

MAX_FORWARDED = 256
"""Questions under way to the host's resolvers at once; more are refused, as Docker's server does."""


def host_resolvers(path: str = "/etc/resolv.conf") -> list[str]:
    """The nameservers of resolv.conf(5)."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            words = [line.split() for line in file]
    except OSError:
        return []
    return [w[1].partition("%")[0] for w in words if len(w) > 1 and w[0] == "nameserver"]


class Server:
    """Answers every container handed to `serve` from the table, and other names from its resolvers or the host's."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self._serving: dict[str, tuple[list[socket.socket], list[asyncio.Task[None]]]] = {}
        self._forwarded = 0

    def serve(self, container_id: str, udp: int, tcp: int, resolvers: Sequence[str] = ()) -> None:
        """Take over the two descriptors (UDP, TCP) and answer there until `leave`."""
        self.leave(container_id)
        sockets = [socket.socket(fileno=udp), socket.socket(fileno=tcp)]
        for sock in sockets:
            sock.setblocking(False)
        upstream = tuple(resolvers)
        tasks = [
            asyncio.ensure_future(self._datagrams(container_id, sockets[0], upstream)),
            asyncio.ensure_future(self._streams(container_id, sockets[1], upstream)),
        ]
        self._serving[container_id] = (sockets, tasks)

    def leave(self, container_id: str) -> None:
        sockets, tasks = self._serving.pop(container_id, ([], []))
        for task in tasks:
            task.cancel()
        for sock in sockets:
            sock.close()

    def close(self) -> None:
        for container_id in list(self._serving):
            self.leave(container_id)

    async def _datagrams(self, asker: str, sock: socket.socket, upstream: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()

        async def reply(data: bytes, peer: object) -> None:
            answer = await self.resolve(asker, data, upstream)
            if answer:
                with contextlib.suppress(OSError):
                    await loop.sock_sendto(sock, answer, peer)  # type: ignore[arg-type]

        pending: set[asyncio.Task[None]] = set()
        while True:
            try:
                data, peer = await loop.sock_recvfrom(sock, 4096)
            except OSError:
                return
            local = self._local(asker, data, stream=False)
            if local is not None:
                with contextlib.suppress(OSError):
                    sock.sendto(local, peer)
                continue
            task = asyncio.ensure_future(reply(data, peer))
            pending.add(task)
            task.add_done_callback(pending.discard)

    async def _streams(self, asker: str, listener: socket.socket, upstream: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        pending: set[asyncio.Task[None]] = set()
        while True:
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError:
                return
            task = asyncio.ensure_future(self._stream(asker, sock, upstream))
            pending.add(task)
            task.add_done_callback(pending.discard)

    async def _stream(self, asker: str, sock: socket.socket, upstream: Sequence[str]) -> None:
        reader, writer = await asyncio.open_connection(sock=sock)
        with contextlib.suppress(OSError, EOFError, asyncio.TimeoutError):
            while True:
                (length,) = struct.unpack(">H", await asyncio.wait_for(reader.readexactly(2), 10))
                data = await asyncio.wait_for(reader.readexactly(length), 10)
                answer = await self.resolve(asker, data, upstream, stream=True)
                if not answer:
                    break
                writer.write(struct.pack(">H", len(answer)) + answer)
                await writer.drain()
        writer.close()

    async def resolve(self, asker: str, data: bytes, upstream: Sequence[str], *, stream: bool = False) -> bytes | None:
        """The answer to one query, None for what is none."""
        local = self._local(asker, data, stream=stream)
        if local is not None:
            return local or None
        query = dnsmessage.parse(data)
        if self._forwarded >= MAX_FORWARDED:
            return dnsmessage.answer(query, [], dnsmessage.REFUSED)
        self._forwarded += 1
        try:
            return await self._forward(query, data, upstream or host_resolvers(), stream)
        finally:
            self._forwarded -= 1

    def _local(self, asker: str, data: bytes, *, stream: bool) -> bytes | None:
        """What we can answer ourselves; b"" for a packet that is no query, None for a name to be forwarded."""
        try:
            query = dnsmessage.parse(data)
        except dnsmessage.Malformed:
            return b""
        if query.family != dnsmessage.IN:
            return None
        if query.kind == dnsmessage.PTR:
            address = dnsmessage.reverse_name(query.name)
            name = self.names.reverse(asker, address) if address else None
            if name is None:
                return None
            return dnsmessage.answer(query, [(dnsmessage.PTR, dnsmessage.encode_name(name))], stream=stream)
        addresses = self.names.lookup(asker, query.name)
        if addresses is None:
            return None
        wanted = {dnsmessage.A: (4,), dnsmessage.AAAA: (6,), dnsmessage.ANY: (4, 6)}.get(query.kind, ())
        records = []
        for text in addresses:
            address_object = ipaddress.ip_address(text)
            if address_object.version in wanted:
                kind = dnsmessage.A if address_object.version == 4 else dnsmessage.AAAA
                records.append((kind, address_object.packed))
        return dnsmessage.answer(query, records, stream=stream)

    async def _forward(self, query: dnsmessage.Query, data: bytes, upstream: Sequence[str], stream: bool) -> bytes:
        for server in upstream:
            try:
                return await asyncio.wait_for(_ask(server, data, stream), FORWARD_TIMEOUT)
            except (OSError, EOFError, asyncio.TimeoutError):
                continue
        # A name without a dot that no container has is unknown, whether or not there is a resolver.
        code = dnsmessage.NXDOMAIN if "." not in query.name else dnsmessage.SERVFAIL
        return dnsmessage.answer(query, [], code)


async def _ask(server: str, data: bytes, stream: bool) -> bytes:
    if stream:
        reader, writer = await asyncio.open_connection(server, 53)
        try:
            writer.write(struct.pack(">H", len(data)) + data)
            (length,) = struct.unpack(">H", await reader.readexactly(2))
            return await reader.readexactly(length)
        finally:
            writer.close()
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((server, 53))
        await loop.sock_sendall(sock, data)
        while True:
            answer = await loop.sock_recv(sock, 65535)
            if answer[:2] == data[:2]:  # else a late answer to somebody else's question
                return answer
