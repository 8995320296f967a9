"""Plain netlink sockets (netlink(7)). Rtnetlink sends many messages at once and reads few answers."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from msgspec import Struct

from engine.errors import OperationFailed
from engine.kernel import calls, flags
from engine.net import netlink_abi as abi
from engine.net.netlink_abi import attributes, pairs

_SIOCGIFMTU, _SIOCGIFINDEX = 0x8921, 0x8933
_ROOM = 1 << 16
"""The buffer size in bytes: the kernel sends datagrams of at most 32 KiB."""


class Link(Struct, frozen=True):
    """`master` is the index of the bridge that the link is a port of, 0 for none."""

    ifindex: int
    name: str
    kind: str
    alias: str
    master: int


@contextlib.contextmanager
def inside(netns: int) -> Iterator[None]:
    """A context manager: during the block, which must not await, the calling thread is in the namespace open at
    `netns`."""
    with in_other_namespaces() as enter:
        enter(netns)
        yield


@contextlib.contextmanager
def in_other_namespaces() -> Iterator[Callable[[int], None]]:
    """A context manager that yields a function; it moves the calling thread to the namespace open at a descriptor. The
    block must not await; at its end, the thread is back in its namespace."""

    def enter(netns: int) -> None:
        calls.setns(netns, flags.CLONE["net"], subject="a container's network namespace")

    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            yield enter
        finally:
            calls.setns(home, flags.CLONE["net"])
    finally:
        os.close(home)


class Netlink:
    """A socket; it stays in the network namespace in which it was created. Raises OSError for an unavailable
    protocol."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def duplicate(self) -> Self:
        """A duplicate of the socket that outlives this one. The two must not be used at the same time."""
        made = type(self).__new__(type(self))
        made._socket = self._socket.dup()
        return made

    def dump(self, operation: str, subject: str, kind: int, head: bytes) -> tuple[list[bytes], bool]:
        """All objects of a kind, and whether they changed meanwhile, so that some may be missing. An object is the body
        of its message without the header; `head` is the body of the request."""
        self._socket.send(abi.HEADER.pack(16 + len(head), kind, abi.REQUEST | abi.DUMP, 0, 0) + head)
        found: list[bytes] = []
        changed = False
        while True:
            for answer, bits, _, body in self._receive():
                changed = changed or bool(bits & abi.DUMP_INTR)
                if answer == abi.DONE:
                    return found, changed
                if answer == abi.ERROR:
                    (number,) = struct.unpack_from("=i", body)
                    raise OperationFailed(operation, subject, -number)
                found.append(body)

    def command(self, operation: str, subject: str, kind: int, body: bytes, *, accept: Sequence[int] = ()) -> None:
        """Send one request. Raises OperationFailed for an errno that is not in `accept`."""
        self._socket.send(abi.HEADER.pack(16 + len(body), kind, abi.REQUEST | abi.ACK, 0, 0) + body)
        for answer, _, _, found in self._receive():
            if answer == abi.ERROR:
                number = -struct.unpack_from("=i", found)[0]
                if number and number not in accept:
                    raise OperationFailed(operation, subject, number)

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        """(type, flags, sequence, body) of each message of one datagram."""
        data = self._socket.recv(_ROOM)
        offset = 0
        while offset < len(data):
            length, kind, bits, sequence, _ = abi.HEADER.unpack_from(data, offset)
            yield kind, bits, sequence, data[offset + 16 : offset + length]
            offset += (length + 3) & ~3


class Rtnetlink(Netlink):
    """Links, addresses, routes."""

    def __init__(self) -> None:
        super().__init__(socket.NETLINK_ROUTE)

    def run(self, messages: Sequence[bytes]) -> list[int]:
        """Send all messages at once; the kernel carries them out in order. Returns the errno of each, 0 for success."""
        errors: list[int] = []
        for start in range(0, len(messages), 64):
            errors += self._run(messages[start : start + 64])
        return errors

    def do(self, operation: str, subject: str, messages: Sequence[bytes], *, accept: Sequence[int] = ()) -> None:
        """Send and raise OperationFailed for the first one that failed with an errno not in `accept`."""
        for number in self.run(messages):
            if number and number not in accept:
                hint = "Networks need root." if number == errno.EPERM else ""
                raise OperationFailed(operation, subject, number, detail=os.strerror(number), hint=hint)

    def index(self, name: str) -> int:
        """The link's index (netdevice(7), SIOCGIFINDEX). Raises OSError if it does not exist."""
        found = fcntl.ioctl(self._socket, _SIOCGIFINDEX, struct.pack("16s24x", name.encode()))
        return int.from_bytes(found[16:20], sys.byteorder)

    def mtu(self, name: str) -> int:
        """The link's MTU in bytes (netdevice(7), SIOCGIFMTU). Raises OSError if it does not exist."""
        found = fcntl.ioctl(self._socket, _SIOCGIFMTU, struct.pack("16s24x", name.encode()))
        return int.from_bytes(found[16:20], sys.byteorder)

    def links(self) -> list[Link]:
        """Every link of the namespace."""
        found, _ = self.dump("list", "links", abi.GETLINK, bytes(16))
        return [_link(body) for body in found]

    def alternative_names(self, index: int) -> list[str]:
        """The alternative names of a link (ip-link(8), altname). Raises OperationFailed if it does not exist."""
        request = abi.LINK.pack(0, 0, index, 0, 0)
        self._socket.send(abi.HEADER.pack(16 + len(request), abi.GETLINK, abi.REQUEST, 0, 0) + request)
        _, _, _, body = next(self._receive())
        listed = attributes(body[16:]).get(abi.IFLA_PROP_LIST, b"")
        return [
            text.rstrip(b"\0").decode(errors="replace") for kind, text in pairs(listed) if kind == abi.IFLA_ALT_IFNAME
        ]

    def routes(self, family: int) -> list[tuple[int, bytes]]:
        """(prefix length, destination) of the routes of all tables; an empty destination means the default route."""
        found, _ = self.dump("list", "routes", abi.GETROUTE, bytes((family,)) + bytes(11))
        return [(body[1], attributes(body[12:]).get(abi.RTA_DST, b"")) for body in found]

    def _run(self, messages: Sequence[bytes]) -> list[int]:
        """The kernel reports failures by itself; for the last message we request an acknowledgement in any case."""
        frame = bytearray()
        last = len(messages) - 1
        for sequence, message in enumerate(messages):
            length, kind, bits, _, _ = abi.HEADER.unpack_from(message)
            sent = bits | abi.ACK if sequence == last else bits & ~abi.ACK
            frame += abi.HEADER.pack(length, kind, sent, sequence, 0) + message[16:]
            frame += b"\0" * (-len(frame) % 4)
        self._socket.send(frame)
        errors: dict[int, int] = {}
        while last not in errors:
            for kind, _, sequence, body in self._receive():
                if kind == abi.ERROR:
                    errors[sequence] = -struct.unpack_from("=i", body)[0]
        return [errors.get(index, 0) for index in range(len(messages))]


def _link(body: bytes) -> Link:
    """Decode struct ifinfomsg and the attributes that we need (rtnetlink(7))."""
    (index,) = struct.unpack_from("=i", body, 4)
    found = attributes(body[16:])
    kind = attributes(found.get(abi.IFLA_LINKINFO, b"")).get(abi.INFO_KIND, b"")
    raw = (found.get(abi.IFLA_IFNAME, b""), kind, found.get(abi.IFLA_IFALIAS, b""))
    name, kind_name, alias = (text.rstrip(b"\0").decode(errors="replace") for text in raw)
    return Link(index, name, kind_name, alias, int.from_bytes(found.get(abi.IFLA_MASTER, b""), sys.byteorder))
