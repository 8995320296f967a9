"""A DHCP client for a container's link: it obtains a lease, renews it while the container runs, and releases it. It
uses the parent link with the container's hardware address, so that the address is known before the container exists. It
has a socket open only while it waits for an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable

from engine.errors import InvalidSpec, OperationFailed
from engine.kernel import socket_filter
from engine.net.fixed_names import HARDWARE_PREFIX
from engine.net.lan import dhcp
from engine.net.lan.dhcp import Lease

_PAUSES = (1.0, 2.0, 4.0, 4.0)
"""Seconds to wait for an answer before each retry; after the last one we give up."""
_AGAIN = 60.0
"""The most seconds between attempts to renew, or to find a server again."""


class Client:
    """`name` is the client's host name, `requested` the required address, "" for any. `moved` is awaited when a server
    assigns a different address."""

    def __init__(self, link: str, mac: str, name: str, requested: str = "") -> None:
        self.link, self.mac, self.name, self.requested = link, mac, name, requested
        self.lease: Lease | None = None
        self.address = ""
        """The current address, possibly from an earlier supervisor's lease."""
        self.moved: Callable[[], Awaitable[None]] | None = None
        self._hardware = bytes.fromhex(mac.replace(":", ""))
        self._keeping: asyncio.Task[None] | None = None
        self._closed = False

    async def obtain(self) -> Lease:
        """Obtain a lease. Raises OperationFailed when no server answers, InvalidSpec if the address is not the required
        one."""
        want = self.requested or self.address
        offer = await self._ask(dhcp.DISCOVER, _PAUSES, requested=want)
        if offer is None:
            hint = f"Is the link up, and is there a DHCP server on the LAN of {self.link}?"
            raise OperationFailed("get an address by DHCP on", self.link, errno.ETIMEDOUT, hint=hint)
        lease = offer.lease
        if self.requested and lease.address != self.requested:
            raise InvalidSpec(
                f"the DHCP server {lease.server} assigns {lease.address}, not {self.requested}",
                hint=f"Reserve that address for {self.mac} on that server, or remove ipv4_address.",
            )
        answer = await self._ask(dhcp.REQUEST, _PAUSES, requested=lease.address, server=lease.server)
        if answer is None or answer.kind == dhcp.NAK:
            why = "it did not answer" if answer is None else "it refused"
            raise OperationFailed("get an address by DHCP on", self.link, detail=f"{lease.server}: {why}")
        self.lease, self.address = answer.lease, answer.lease.address
        return answer.lease

    def keep(self) -> None:
        """Start renewing the lease; renew an earlier supervisor's lease at once."""
        self._keeping = asyncio.ensure_future(self._keep())

    def close(self) -> None:
        """Stop renewing, but keep the lease."""
        self._closed = True
        if self._keeping is not None and self._keeping is not asyncio.current_task():
            self._keeping.cancel()

    def release(self) -> None:
        """Stop, and release the lease."""
        self.close()
        lease, self.lease = self.lease, None
        if lease is not None:
            payload = dhcp.request(dhcp.RELEASE, _number(), self._hardware, server=lease.server, bound=lease.address)
            with contextlib.suppress(OSError), self._socket(0) as sock:
                sock.send(dhcp.frame(payload, self._hardware, source=lease.address, to=lease.server, at=lease.hardware))

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        got = loop.time()
        while not self._closed and (self.lease is None or self.lease.seconds):
            lease = self.lease
            if lease is not None:
                await asyncio.sleep(max(0.0, got + lease.renew - loop.time()))
            sent = loop.time()
            if await self._renewed(lease, got):
                got = sent
            else:
                await asyncio.sleep(_AGAIN)

    async def _renewed(self, lease: Lease | None, got: float) -> bool:
        """Request the same address while it is ours, then any. Returns whether there is a lease again."""
        loop = asyncio.get_running_loop()
        while lease is None or loop.time() < got + lease.seconds:
            answer = await self._ask(dhcp.REQUEST, _PAUSES[:2], bound=self.address)
            if answer is not None and answer.kind == dhcp.ACK:
                self.lease = answer.lease
                return True
            if answer is not None or lease is None:
                break  # refused, or without a lease time
            await asyncio.sleep(min(_AGAIN, max(1.0, (got + lease.seconds - loop.time()) / 2)))
        before = self.address
        try:
            await self.obtain()
        except (OperationFailed, InvalidSpec) as error:
            print(f"lease of {before}: {error}", file=sys.stderr, flush=True)
            return False
        if self.address != before and self.moved is not None:
            await self.moved()
        return True

    async def _ask(self, kind: int, pauses: tuple[float, ...], **fields: str) -> dhcp.Answer | None:
        """Send a message, again after each of the pauses, and return the first answer. Raises OperationFailed."""
        number = _number()
        payload = dhcp.request(kind, number, self._hardware, name=self.name, **fields)
        sent = dhcp.frame(payload, self._hardware, source=fields.get("bound", "0.0.0.0"))
        wanted = (dhcp.OFFER,) if kind == dhcp.DISCOVER else (dhcp.ACK, dhcp.NAK)
        try:
            with self._socket(dhcp.ETH_P_ALL) as sock:
                for pause in pauses:
                    with contextlib.suppress(BlockingIOError):
                        sock.send(sent)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            return await self._answer(sock, number, wanted)
        except OSError as error:
            raise OperationFailed.of("get an address by DHCP on", self.link, error) from error
        return None

    async def _answer(self, sock: socket.socket, number: int, wanted: tuple[int, ...]) -> dhcp.Answer:
        while True:
            data = await asyncio.get_running_loop().sock_recv(sock, 65536)
            answer = dhcp.read(data, number, self._hardware)
            if answer is not None and answer.kind in wanted:
                return answer

    def _socket(self, protocol: int) -> socket.socket:
        """A packet socket on the parent link, which also receives frames for the container (packet(7), ETH_P_ALL)."""
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            _attach(sock)
            sock.bind((self.link, protocol))
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return sock


def hardware(name: str, network: str) -> str:
    """The default hardware address of a container. It depends only on the name, so that a recreated container gets the
    same IP address from the server."""
    return HARDWARE_PREFIX + hashlib.sha256(f"{network}\0{name}".encode()).digest()[:4].hex(":")


def _number() -> int:
    return int.from_bytes(os.urandom(4), "big")


def _attach(sock: socket.socket) -> None:
    """Attach a filter (classic BPF) that passes only UDP to a DHCP client's port."""
    code = (
        (0x28, 0, 0, 12),  # the EtherType
        (0x15, 0, 6, dhcp.ETH_P_IP),
        (0x30, 0, 0, 23),  # the protocol
        (0x15, 0, 4, socket.IPPROTO_UDP),
        (0xB1, 0, 0, 14),  # X = length of the IP header
        (0x48, 0, 0, 16),  # the destination port
        (0x15, 0, 1, dhcp.CLIENT_PORT),
        (0x06, 0, 0, 0xFFFF),
        (0x06, 0, 0, 0),
    )
    socket_filter.attach(sock, code)
