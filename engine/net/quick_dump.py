"""Netlink dumps (netlink(7)) for the checks that every `up` makes. Standard library only: rtnetlink.py and its imports would take
longer to load than the checks take.
"""

from __future__ import annotations

import socket

from engine.net.netlink_abi import DONE, DUMP, ERROR, HEADER, REQUEST

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterator


def connected(protocol: int) -> socket.socket:
    """A socket for a netlink protocol, such as socket.NETLINK_ROUTE. Raises OSError."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)


def dump(kernel: socket.socket, kind: int, body: bytes) -> Iterator[bytes]:
    """Request a dump, and return the content of each message of the answer, without its header. Read it to the end before the
    socket's next dump. Raises OSError, struct.error."""
    kernel.send(HEADER.pack(HEADER.size + len(body), kind, REQUEST | DUMP, 0, 0) + body)
    while True:
        data, offset = kernel.recv(1 << 16), 0
        while offset + HEADER.size <= len(data):
            length, answer, *_ = HEADER.unpack_from(data, offset)
            if answer in (ERROR, DONE):
                return
            yield data[offset + HEADER.size : offset + length]
            offset += (length + 3) & ~3
