"""The relay's inlets: for each IP version and protocol one socket, to which packet rules (tproxy) direct the connections and
datagrams of any number of published ports. They are bound to loopback addresses, so nothing else reaches them."""

from __future__ import annotations

import socket
import struct

from engine.kernel import socket_filter
from engine.net.netlink_abi import FAMILIES

_LISTENING = struct.Struct("=HH60x")  # struct listening of relay.c, with an empty struct route
_RAW = 3
_TRANSPARENT = {4: (socket.SOL_IP, 19), 6: (socket.IPPROTO_IPV6, 75)}
"""IP_TRANSPARENT, IPV6_TRANSPARENT: packets may be for any address of the host."""
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
_CHECKSUM, _CHECKSUM_OFFSET = 7, 6
"""IPV6_CHECKSUM: the kernel computes the checksum of UDP (ipv6(7))."""

Listening = list[tuple[int, bytes]]
"""Descriptors, and struct listening of relay.c for each."""


class Inlets:
    def __init__(self) -> None:
        self._ports: dict[tuple[int, str], int] = {}
        self._open: list[tuple[socket.socket, bytes]] = []

    @property
    def sockets(self) -> Listening:
        return [(sock.fileno(), text) for sock, text in self._open]

    def port(self, version: int, protocol: str) -> tuple[int, Listening]:
        """The inlet's port, and the sockets that were opened for it now. Raises OSError."""
        if found := self._ports.get((version, protocol)):
            return found, []
        family, before = FAMILIES[version], len(self._open)
        if protocol == "tcp":
            sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            # Connections inherit it; without it, their last minute (TIME-WAIT) keeps the published port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._open.append((sock, _LISTENING.pack(socket.SOCK_STREAM, socket.IPPROTO_TCP)))
        else:
            raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP)
            socket_filter.drop_all(raw)  # it only sends
            if version == 6:
                raw.setsockopt(socket.IPPROTO_IPV6, _CHECKSUM, _CHECKSUM_OFFSET)
            self._open.append((raw, _LISTENING.pack(_RAW, family)))
            sock = socket.socket(family, socket.SOCK_DGRAM, socket.IPPROTO_UDP)
            self._open.append((sock, _LISTENING.pack(socket.SOCK_DGRAM, socket.IPPROTO_UDP)))
        sock.setsockopt(*_TRANSPARENT[version], 1)
        sock.bind((LOOPBACK[version], 0))
        sock.setblocking(False)
        if protocol == "tcp":
            sock.listen(4096)
        self._ports[version, protocol] = number = int(sock.getsockname()[1])
        return number, self.sockets[before:]

    def close(self) -> None:
        for sock, _ in self._open:
            sock.close()
        self._open.clear()
        self._ports.clear()
