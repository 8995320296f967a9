"""Netlink dumps (netlink(7)) for the checks that every `up` makes. Standard library only: rtnetlink.py and its imports would take
longer to load than the checks take.
"""

from __future__ import annotations

import socket
import struct

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER = struct.Struct("=IHHII")
_REQUEST_DUMP = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3


def connected(protocol: int) -> socket.socket:
    """A socket for a netlink protocol, such as socket.NETLINK_ROUTE. Raises OSError."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)


def dump(kernel: socket.socket, kind: int, body: bytes) -> Iterator[bytes]:
    """Request a dump, and return the content of each message of the answer, without its header. Read it to the end before the
    socket's next dump. Raises OSError, struct.error."""
    kernel.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST_DUMP, 0, 0) + body)
    while True:
        data, offset = kernel.recv(1 << 16), 0
        while offset + _HEADER.size <= len(data):
            length, answer, *_ = _HEADER.unpack_from(data, offset)
            if answer in (_NLMSG_ERROR, _NLMSG_DONE):
                return
            yield data[offset + _HEADER.size : offset + length]
            offset += (length + 3) & ~3


def attributes(body: bytes) -> dict[int, bytes]:
    """Attribute number → payload; the last one wins."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, offset)
        found[kind & 0x3FFF] = body[offset + 4 : offset + length]
        offset += max(4, (length + 3) & ~3)
    return found
