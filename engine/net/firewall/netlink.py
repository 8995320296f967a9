"""nf_tables over netlink (include/uapi/linux/netfilter/nf_tables.h): messages, expressions, transactions.

Encoded here and not by a library, because every `up` uses it, and importing a library takes longer than the kernel
takes to create the table.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterable, Sequence

from msgspec import Struct

from engine.errors import OperationFailed
from engine.net.netlink_abi import (
    ACK,
    APPEND,
    ATTRIBUTE,
    CREATE,
    ERROR,
    EXCLUSIVE,
    HEADER,
    NETFILTER,
    NFTABLES,
    REQUEST,
    attribute,
    attributes,
    nested,
)
from engine.net.rtnetlink import Netlink

NEWTABLE, GETTABLE, DELTABLE, NEWCHAIN, GETCHAIN, DELCHAIN, NEWRULE, GETRULE, DELRULE = range(9)
NEWSET, _GETSET, _DELSET, NEWSETELEM, GETSETELEM, DELSETELEM, NEWGEN = range(9, 16)
INET, IPV4, IPV6 = 1, 2, 10
"""NFPROTO_*"""
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)
ACCEPT, DROP, JUMP, RETURN = 1, 0, -3, -5
IFNAME = 41
"""nft(8)'s number for the type of link names."""
INTERVAL, MAP = 0x4, 0x8
"""Flags of sets."""
OWNER = 0x2
"""Flag of a table that only the creating socket may change, and that is removed with it (Linux 5.12)."""

_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_HEADER_CHECKSUM = 10
"""Offset in the header of IPv4 (RFC 791)."""
_PIECE = 250
"""Elements per message: a nested attribute has at most 64 KiB."""
_SEND_BUFFER = 64 << 20


class Element(Struct, frozen=True):
    """`end`: the first key behind an interval. `comment` is shown by nft(8); the owner's id for a published port."""

    key: bytes
    data: bytes = b""
    end: bytes = b""
    comment: str = ""


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    return ATTRIBUTE.pack(8, kind) + (value & 0xFFFFFFFF).to_bytes(4, "big")


def message(kind: int, body: bytes, *, family: int = INET, bits: int = 0) -> bytes:
    """One message of a transaction; sequence numbers are assigned when it is sent."""
    head = struct.pack("=BBH", family, 0, 0)
    return HEADER.pack(20 + len(body), NFTABLES << 8 | kind, REQUEST | bits, 0, 0) + head + body


# ── expressions ──────────────────────────────────────────────────────────────────────────────────────────────────────
# Register numbers count 32-bit registers from 8; the fields of a key are in consecutive registers.


def _expression(name: str, body: bytes) -> bytes:
    return nested(1, text(1, name) + nested(2, body))


def _value(kind: int, data: bytes) -> bytes:
    return nested(kind, attribute(1, data))


def meta(key: int, register: int = 8) -> bytes:
    return _expression("meta", number(1, register) + number(2, key))


def payload(base: int, offset: int, length: int, register: int = 8) -> bytes:
    """`base`: 1 for the network header, 2 for the transport header."""
    return _expression("payload", number(1, register) + number(2, base) + number(3, offset) + number(4, length))


def compare(data: bytes, operator: int = 0, register: int = 8) -> bytes:
    """Continue if the register is equal (0), not equal (1), at most (3) or at least (5) `data`."""
    return _expression("cmp", number(1, register) + number(2, operator) + _value(3, data))


def load(data: bytes, register: int = 8) -> bytes:
    return _expression("immediate", number(1, register) + _value(2, data))


def lookup(name: str, register: int = 8, *, into: int = 0, inverted: bool = False) -> bytes:
    """Continue if the key is in the set; `into` gets the value of a map."""
    body = text(1, name) + number(2, register) + (number(3, into) if into else b"")
    return _expression("lookup", body + (number(5, 1) if inverted else b""))


def conntrack(key: int, bits: int) -> bytes:
    """Continue if the state (0) or status (2) of the connection has one of the bits."""
    mask = _value(4, struct.pack("=I", bits)) + _value(5, bytes(4))
    load = _expression("ct", number(1, 8) + number(2, key))
    return load + _expression("bitwise", number(1, 8) + number(2, 8) + number(3, 4) + mask) + compare(bytes(4), 1)


def rewrite(offset: int, length: int, register: int = 8) -> bytes:
    """Write the register into the header of IPv4, and adjust the checksums of that and of TCP and UDP."""
    body = number(5, register) + number(2, 1) + number(3, offset) + number(4, length)
    body += number(6, 1) + number(7, _HEADER_CHECKSUM) + number(8, 1)
    return _expression("payload", body)


def original(key: int, register: int = 8) -> bytes:
    """Load a field of the connection's first packet."""
    return _expression("ct", number(1, register) + number(2, key) + attribute(3, b"\0"))


def is_answer() -> bytes:
    """Continue if the packet goes against the direction of the connection's first."""
    return _expression("ct", number(1, 8) + number(2, 1)) + compare(b"\1")


def divert(family: int, address: int, port: int) -> bytes:
    """Hand the packet, unchanged, to the listening socket at the address and port in the registers (TPROXY)."""
    return _expression("tproxy", number(1, family) + number(2, address) + number(3, port))


def has_transparent_socket() -> bytes:
    """Continue if the packet belongs to a socket with IP_TRANSPARENT."""
    return _expression("socket", number(1, 0) + number(2, 8)) + compare(b"\1")


def mark(value: int) -> bytes:
    return load(struct.pack("=I", value)) + _expression("meta", number(2, 3) + number(3, 8))


def to_this_host() -> bytes:
    """Continue if the destination is an address of the host (fib daddr type local)."""
    return _expression("fib", number(1, 8) + number(2, 3) + number(3, 2)) + compare(struct.pack("=I", 2))


def translate(kind: int, family: int, address: int, port: int = 0) -> bytes:
    """SNAT (0) or DNAT (1) to the address and port in the registers."""
    body = number(1, kind) + number(2, family) + number(3, address)
    return _expression("nat", body + (number(5, port) if port else b""))


def masquerade() -> bytes:
    return _expression("masq", b"")


def counter() -> bytes:
    return _expression("counter", b"")


def verdict(code: int, chain: str = "") -> bytes:
    body = number(1, code) + (text(2, chain) if chain else b"")
    return _expression("immediate", number(1, 0) + nested(2, nested(2, body)))


# ── tables, chains, sets, rules ──────────────────────────────────────────────────────────────────────────────────────


def table(name: str, *, flags: int = 0, note: bytes = b"", exclusive: bool = False) -> bytes:
    body = text(1, name) + (number(2, flags) if flags else b"") + (attribute(6, note) if note else b"")
    return message(NEWTABLE, body, bits=CREATE | (EXCLUSIVE if exclusive else 0))


def delete_table(name: str) -> bytes:
    return message(DELTABLE, text(1, name))


def chain(table: str, name: str, kind: str = "", hook: int = 0, priority: int = 0, *, family: int = INET) -> bytes:
    body = text(1, table) + text(3, name)
    if kind:
        body += nested(4, number(1, hook) + number(2, priority)) + text(7, kind)
    return message(NEWCHAIN, body, family=family, bits=CREATE)


def new_set(table: str, name: str, key: tuple[int, int], data: tuple[int, int], flags: int, identifier: int) -> bytes:
    """`key` and `data`: (type number of nft(8), length in bytes)."""
    body = text(1, table) + text(2, name) + number(3, flags) + number(4, key[0]) + number(5, key[1])
    if flags & MAP:
        body += number(6, data[0]) + number(7, data[1])
    # NFTNL_UDATA_SET_KEYBYTEORDER: tells nft(8) that link names are host-endian.
    note = attribute(13, struct.pack("=BBI", 0, 4, 1)) if key[0] == IFNAME else b""
    return message(NEWSET, body + number(10, identifier) + note, bits=CREATE)


def rule(
    table: str, chain: str, expressions: bytes, *, family: int = INET, before: int = 0, first: bool = False
) -> bytes:
    """A rule at the end of the chain, or before the rule with the handle `before`, or before all."""
    body = text(1, table) + text(2, chain) + nested(4, expressions)
    if before:
        return message(NEWRULE, body + attribute(6, struct.pack(">Q", before)), family=family, bits=CREATE)
    return message(NEWRULE, body, family=family, bits=CREATE | (0 if first else APPEND))


def delete_rule(table: str, chain: str, handle: int, *, family: int) -> bytes:
    return message(DELRULE, text(1, table) + text(2, chain) + attribute(3, struct.pack(">Q", handle)), family=family)


def add(table: str, name: str, elements: Sequence[Element]) -> list[bytes]:
    return _elements(NEWSETELEM, table, name, elements)


def remove(table: str, name: str, elements: Sequence[Element]) -> list[bytes]:
    return _elements(DELSETELEM, table, name, elements)


def _elements(kind: int, table: str, name: str, elements: Sequence[Element]) -> list[bytes]:
    found = []
    for start in range(0, len(elements), _PIECE):
        body = b"".join(_element(one, kind == NEWSETELEM) for one in elements[start : start + _PIECE])
        named = text(1, table) + text(2, name)
        found.append(message(kind, named + nested(3, body), bits=CREATE if kind == NEWSETELEM else 0))
    return found


def _element(element: Element, whole: bool) -> bytes:
    body = _value(1, element.key)
    if whole and element.data:
        body += _value(2, element.data)
    if whole and element.comment:
        note = element.comment.encode() + b"\0"
        body += attribute(6, bytes((0, len(note))) + note)  # NFTNL_UDATA_SET_ELEM_COMMENT
    found = nested(1, body)
    if element.end:
        found += nested(1, _value(1, element.end) + number(3, 1))
    return found


# ── the socket ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Nfnetlink(Netlink):
    """A socket. Raises OSError if the kernel lacks nfnetlink."""

    def __init__(self) -> None:
        super().__init__(NETFILTER)

    def transact(self, messages: Sequence[bytes]) -> int:
        """Carry out all messages or none. Returns the first errno, 0 for success."""
        frame = bytearray(_batch(_BATCH_BEGIN))
        last = len(messages)
        for sequence, one in enumerate(messages, 1):
            length, kind, bits, _, _ = HEADER.unpack_from(one)
            frame += HEADER.pack(length, kind, bits | (ACK if sequence == last else 0), sequence, 0) + one[16:]
            frame += b"\0" * (-len(frame) % 4)
        frame += _batch(_BATCH_END)
        if len(frame) > 100_000:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, 32, _SEND_BUFFER)  # SO_SNDBUFFORCE
        self._socket.send(frame)
        return self._outcome()

    def _outcome(self) -> int:
        """The result of a transaction: the kernel has carried it out, and answered, when send(2) returns."""
        first = 0
        self._socket.setblocking(False)
        try:
            while True:
                for kind, _, _, body in self._receive():
                    if kind == ERROR:
                        first = first or -struct.unpack_from("=i", body)[0]
        except BlockingIOError:
            return first
        finally:
            self._socket.setblocking(True)

    def do(self, operation: str, subject: str, messages: Sequence[bytes], *, accept: Sequence[int] = ()) -> int:
        """Carry out the messages, or raise OperationFailed. Returns the errno if it is in `accept`."""
        failed = self.transact(messages)
        if failed and failed not in accept:
            hint = "Networks need root." if failed == errno.EPERM else ""
            raise OperationFailed(operation, subject, failed, detail=os.strerror(failed), hint=hint)
        return failed

    def objects(self, kind: int, body: bytes = b"", *, family: int = INET) -> list[dict[int, bytes]]:
        """The attributes of all tables, chains, rules or lists of elements; none if their container does not exist."""
        try:
            head = struct.pack("=BBH", family, 0, 0) + body
            while True:
                found, changed = self.dump("list", "packet filter", NFTABLES << 8 | kind, head)
                if not changed:
                    return [{**attributes(one[4:]), 0: one[:1]} for one in found]
        except OperationFailed as error:
            if error.errno == errno.ENOENT:
                return []
            raise

    def elements(self, table: str, name: str) -> list[Element]:
        """The elements of a set or map, without ends of intervals."""
        found = []
        for one in self.objects(GETSETELEM, text(1, table) + text(2, name)):
            for body in items(one.get(3, b"")):
                fields = attributes(body)
                if not int.from_bytes(fields.get(3, b""), "big") & 1:
                    note = fields.get(6, b"")[2:].rstrip(b"\0").decode(errors="replace")
                    key, data = (attributes(fields.get(kind, b"")).get(1, b"") for kind in (1, 2))
                    found.append(Element(key, data, comment=note))
        return found


def _batch(kind: int) -> bytes:
    return HEADER.pack(20, kind, REQUEST, 0, 0) + struct.pack(">BBH", 0, 0, NFTABLES)


def items(body: bytes) -> Iterable[bytes]:
    """The entries of a list of attributes."""
    offset = 0
    while offset + 4 <= len(body):
        (length,) = struct.unpack_from("=H", body, offset)
        yield body[offset + 4 : offset + length]
        offset += max(4, (length + 3) & ~3)


def name_of(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
