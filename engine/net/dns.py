"""The DNS server at 127.0.0.11 of each container. Its sockets were opened inside the container's network namespace."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

from engine.net import dnsforward, dnsmessage
from engine.net.datagrams import Datagrams
from engine.net.names import Names
from engine.net.overlay.discovery import Discovery
from engine.readable import Readable

MAX_FORWARDED, MAX_FORWARDED_BY_ONE = 256, 128
"""Queries in progress at resolvers, of all containers and of one of them; more are refused, as by Docker's server."""

MAX_STREAMS = 32
"""The most concurrent TCP connections of one container; more are closed."""

STREAM_IDLE = 10.0
"""Seconds after which an idle TCP connection is closed."""

MAX_REMEMBERED = 300
"""The longest question, in bytes, whose answer is cached."""

MAX_ANSWERS = 4096
"""The number of cached answers."""

_KINDS = {
    dnsmessage.A: (dnsmessage.A,),
    dnsmessage.AAAA: (dnsmessage.AAAA,),
    dnsmessage.ANY: (dnsmessage.A, dnsmessage.AAAA),
}


class _Client:
    """A container that we serve."""

    def __init__(self, container_id: str, udp: socket.socket, tcp: socket.socket, upstream: tuple[str, ...]) -> None:
        self.container_id, self.udp, self.tcp, self.upstream = container_id, udp, tcp, upstream
        self.tasks: set[asyncio.Task[None]] = set()
        self.streams = self.forwarded = 0
        self.accepting: Readable | None = None

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class Server:
    """Answers the containers passed to `serve` from the table, and other names from their resolvers or the host's. A
    container with only internal networks gets no external answers, because questions can carry data out
    (CVE-2024-29018).
    """

    def __init__(self, names: Names, discovery: Discovery | None = None) -> None:
        self.names = names
        self._discovery = discovery or Discovery(names)
        self._clients: dict[str, _Client] = {}
        self._datagrams = Datagrams()
        self._forwarded = 0
        self._answers: dict[tuple[str, bool, bytes], bytes] = {}
        """Cache: (asker, by TCP, question without its id) → answer without its id; cleared when a name changes."""
        self._generation = names.generation

    def serve(self, container_id: str, udp: int, tcp: int, resolvers: Sequence[str] = ()) -> tuple[int, int]:
        """Own the two descriptors (UDP, TCP) and answer on them until `leave`; returns the ports that they are bound
        to."""
        self.leave(container_id)
        # Pass family and type, and watch descriptor numbers, to save system calls.
        sockets = (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDP, fileno=udp),
            socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=tcp),
        )
        client = _Client(container_id, *sockets, tuple(resolvers))
        self._clients[container_id] = client
        for sock in sockets:
            sock.setblocking(False)
        self._datagrams.add(client.udp, partial(self._datagram, client))
        client.accepting = Readable(client.tcp, partial(self._accept, client))
        return sockets[0].getsockname()[1], sockets[1].getsockname()[1]

    def serves(self, container_id: str) -> bool:
        return container_id in self._clients

    def leave(self, container_id: str) -> None:
        client = self._clients.pop(container_id, None)
        if client is None:
            return
        self._datagrams.remove(client.udp)
        client.udp.close()
        if client.accepting is not None:
            client.accepting.close()
        for task in client.tasks:
            task.cancel()

    def close(self) -> None:
        for container_id in list(self._clients):
            self.leave(container_id)

    def _datagram(self, client: _Client, data: bytes, peer: object) -> None:
        answer = self.local(client.container_id, data)
        if answer is None:
            client.spawn(self._reply(client, data, peer))
        elif answer:
            _send(client.udp, answer, peer)

    async def _reply(self, client: _Client, data: bytes, peer: object) -> None:
        _send(client.udp, await self._outside(client, data, stream=False), peer)

    def _accept(self, client: _Client) -> None:
        with contextlib.suppress(OSError):
            sock, _ = client.tcp.accept()
            if client.streams >= MAX_STREAMS:
                sock.close()
            else:
                client.streams += 1
                client.spawn(self._stream(client, sock))

    async def _stream(self, client: _Client, sock: socket.socket) -> None:
        try:
            reader, writer = await asyncio.open_connection(sock=sock)
            with contextlib.closing(writer), contextlib.suppress(OSError, EOFError, TimeoutError):
                while True:
                    async with asyncio.timeout(STREAM_IDLE):
                        (length,) = struct.unpack(">H", await reader.readexactly(2))
                        data = await reader.readexactly(length)
                        answer = self.local(client.container_id, data, stream=True)
                    if answer is None:
                        answer = await self._outside(client, data, stream=True)
                    if not answer:
                        return
                    writer.write(struct.pack(">H", len(answer)) + answer)
                    await asyncio.wait_for(writer.drain(), STREAM_IDLE)
        finally:
            client.streams -= 1

    def local(self, asker: str, data: bytes, *, stream: bool = False) -> bytes | None:
        """Our own answer; b"" for a packet that is not a query, None for a name to be resolved externally."""
        if self._generation != self.names.generation or len(self._answers) > MAX_ANSWERS:
            self._answers.clear()
            self._generation = self.names.generation
        known = self._answers.get((asker, stream, data[2:]))
        if known is not None:
            return data[:2] + known
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
        if query.kind not in (*_KINDS, dnsmessage.MX) and "." in query.name:
            return None  # as Docker: an alias such as mail.example.org has its TXT and SRV records elsewhere
        # One of our names without an address of that type still exists: no error, no data (RFC 2308 section 2.2).
        wanted = _KINDS.get(query.kind, ())
        answer = dnsmessage.answer(
            query, [found for found in map(_record, addresses) if found[0] in wanted], stream=stream
        )
        # The order of several addresses varies; names of other groups change without notice.
        if len(data) < MAX_REMEMBERED and self._is_settled(asker, query, addresses):
            self._answers[asker, stream, data[2:]] = answer[2:]
        return answer

    def _is_settled(self, asker: str, query: dnsmessage.Query, addresses: Sequence[str]) -> bool:
        """Whether the answer stays the same until one of our names changes: at most one address of each IP version."""
        versions = {":" in address for address in addresses}
        return len(versions) == len(addresses) and bool(self.names.own(asker, query.name))

    async def _outside(self, client: _Client, data: bytes, *, stream: bool) -> bytes:
        query = dnsmessage.parse(data)
        if self._forwarded >= MAX_FORWARDED or client.forwarded >= MAX_FORWARDED_BY_ONE:
            return dnsmessage.answer(query, [], dnsmessage.REFUSED)
        self._forwarded += 1
        client.forwarded += 1
        try:
            if others := await self._discovery.ask(self.names.networks(client.container_id), query.name):
                wanted = _KINDS.get(query.kind, ())
                return dnsmessage.answer(
                    query, [one for one in map(_record, others) if one[0] in wanted], stream=stream
                )
            found = await self._ask(client, data, stream=stream)
        finally:
            self._forwarded -= 1
            client.forwarded -= 1
        is_ours = (found is None or found[3] & 0x0F == dnsmessage.NXDOMAIN) and self.names.lookup(
            client.container_id, query.name
        )
        if is_ours:
            return dnsmessage.answer(query, [])
        if found is not None:
            return found
        # A name without a dot that no container has is unknown, with or without a resolver.
        code = dnsmessage.SERVFAIL if "." in query.name else dnsmessage.NXDOMAIN
        return dnsmessage.answer(query, [], code)

    async def _ask(self, client: _Client, data: bytes, *, stream: bool) -> bytes | None:
        """Ask resolvers from the container's network, as Docker does: they see its address, and its routes (a VPN's)
        apply. Only resolvers of the host's resolv.conf that the container cannot reach are asked from the host's."""
        servers = client.upstream or dnsforward.host_resolvers()
        allowed = [one for one in servers if self._may_ask(client, one)]
        origins = {one: client.udp for one in allowed if client.upstream or not dnsforward.is_of_host(one)}
        return await dnsforward.ask(allowed, data, stream=stream, origins=origins)

    def _may_ask(self, client: _Client, server: str) -> bool:
        """Whether the container may use the resolver: one of its own, on a loopback address, or one that it reaches."""
        own = bool(client.upstream) and ipaddress.ip_address(server).is_loopback
        return own or self.names.reaches(client.container_id, server)


def _send(sock: socket.socket, data: bytes, peer: object) -> None:
    try:
        sock.sendto(data, peer)  # type: ignore[call-overload]
    except OSError:
        pass  # the peer's queue is full, or it has exited: DNS clients ask again


def _record(address: str) -> tuple[int, bytes]:
    """The type and data of the record for the address."""
    if ":" in address:
        return dnsmessage.AAAA, socket.inet_pton(socket.AF_INET6, address)
    return dnsmessage.A, socket.inet_pton(socket.AF_INET, address)
