"""Names of containers on other hosts: a host asks all others by multicast on the overlay network itself. A question is
a DNS message (RFC 1035) from a bridge's address to GROUP; hosts with the name answer by unicast, others do not answer.
Only bridges' addresses ask and answer, and each only for its own part of the subnet."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterable, Sequence

from engine.net import dnsmessage
from engine.net.names import Names
from engine.net.overlay import settings
from engine.readable import Readable
from engine.spec.network import NetworkRecord

GROUP, PORT = "239.255.67.77", 5367
"""In the range for local use (RFC 2365)."""

PATIENCE = 0.3
"""Seconds to wait for the first answer."""

MORE = 0.02
"""Seconds to wait for further answers: a service may have containers on several hosts."""

_IP_MULTICAST_ALL = 49
_LARGEST = 4096


class _Joined:
    """A network that we listen on."""

    def __init__(self, record: NetworkRecord, index: int, answer: Callable[[_Joined], None]) -> None:
        self.record, self.index, self.gateways = record, index, settings.gateways(record)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        member = socket.inet_aton(GROUP) + bytes(4) + struct.pack("=i", index)
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        self.socket.bind((GROUP, PORT))
        self.listener = Readable(self.socket, lambda: answer(self))


class Discovery:
    """Runs in the event loop of a supervisor; listens on the networks of its containers until `close`."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._joined: dict[str, _Joined] = {}
        """By network name."""

    def join(self, record: NetworkRecord) -> None:
        """Start to answer on the overlay network, whose bridge exists."""
        name = record.spec.name
        index = socket.if_nametoindex(record.bridge)
        if name in self._joined and self._joined[name].index == index:
            return
        self.leave(name)
        self._joined[name] = _Joined(record, index, self._answer)

    def leave(self, network: str) -> None:
        if joined := self._joined.pop(network, None):
            joined.listener.close()

    def close(self) -> None:
        for name in list(self._joined):
            self.leave(name)

    def _answer(self, joined: _Joined) -> None:
        with contextlib.suppress(OSError, dnsmessage.Malformed):
            while True:
                data, peer = joined.socket.recvfrom(_LARGEST)
                if peer[0] not in joined.gateways or peer[0] == joined.record.pools[0].gateway:
                    continue
                query = dnsmessage.parse(data)
                found = self._names.on(joined.record.spec.name, query.name)
                if records := [(dnsmessage.A, socket.inet_aton(one)) for one in found if ":" not in one]:
                    joined.socket.sendto(dnsmessage.answer(query, records), peer)

    async def ask(self, networks: Iterable[str], name: str) -> list[str]:
        """Addresses of `name` (in lower case; NAME.NETWORK searches one network) on those of the networks that we have
        joined."""
        questions = []
        for joined in (self._joined[network] for network in networks if network in self._joined):
            bare = name.removesuffix(f".{joined.record.spec.name.lower()}")
            if "." not in bare:
                questions.append(_ask(joined, bare))
        return [address for found in await asyncio.gather(*questions) for address in found]


async def _ask(joined: _Joined, name: str) -> Sequence[str]:
    """The addresses that arrive in time, each from the host that owns it."""
    loop, own, found = asyncio.get_running_loop(), joined.record.pools[0], dict[str, None]()
    query = os.urandom(2) + struct.pack(">5H", 0, 1, 0, 0, 0) + dnsmessage.encode_name(name) + struct.pack(">HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind((own.gateway, 0))
        target = socket.inet_aton(GROUP) + bytes(4) + struct.pack("=i", joined.index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, target)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        with contextlib.suppress(OSError, TimeoutError):
            sock.sendto(query, (GROUP, PORT))
            async with asyncio.timeout(PATIENCE) as patience:
                while True:
                    data, peer = await loop.sock_recvfrom(sock, _LARGEST)
                    if peer[0] in joined.gateways and data[:2] == query[:2]:
                        part = ipaddress.IPv4Network(
                            (peer[0], ipaddress.IPv4Network(own.ip_range).prefixlen), strict=False
                        )
                        theirs = dnsmessage.addresses(data, len(query))
                        found |= dict.fromkeys(one for one in theirs if ipaddress.IPv4Address(one) in part)
                        patience.reschedule(loop.time() + MORE)
    return list(found)
