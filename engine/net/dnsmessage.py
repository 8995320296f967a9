"""DNS messages, as far as an embedded server needs them (RFC 1035 section 4; RFC 6891 for the UDP size of clients)."""

from __future__ import annotations

import ipaddress
import struct

from msgspec import Struct

A, PTR, MX, AAAA, OPT, ANY = 1, 12, 15, 28, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5

TTL = 600
"""The TTL in seconds, as in Docker."""


class Malformed(ValueError):
    """The data is not a DNS query."""


class Query(Struct, frozen=True):
    """The question of a query: `name` in lower case without the final dot; `size` is the largest UDP answer that the
    client accepts."""

    identifier: int
    recursion_desired: bool
    name: str
    kind: int
    family: int
    question: bytes
    size: int


def parse(data: bytes) -> Query:
    """Parse a query. Raises Malformed, and nothing else, for any other data."""
    if len(data) < 12:
        raise Malformed("shorter than a header")
    identifier, bits, questions, answers, authorities, additional = struct.unpack_from(">6H", data)
    if bits & 0x8000 or bits >> 11 & 15 or questions != 1:
        raise Malformed("not a query with one question")
    labels = []
    offset = 12
    while True:
        if offset >= len(data):
            raise Malformed("the name does not end")
        length = data[offset]
        offset += 1
        if length == 0:
            break
        if length > 63 or offset + length > len(data):
            raise Malformed("a label of wrong length")
        labels.append(data[offset : offset + length])
        offset += length
    if offset + 4 > len(data) or offset > 12 + 256:
        raise Malformed("no type and class, or too long a name")
    kind, family = struct.unpack_from(">HH", data, offset)
    question = data[12 : offset + 4]
    size = 512
    rest = data[offset + 4 :]
    if not answers and not authorities and additional == 1 and len(rest) >= 11 and rest[0] == 0:
        option, wanted = struct.unpack_from(">HH", rest, 1)
        if option == OPT:
            size = max(512, min(wanted, 4096))
    name = b".".join(labels).decode("ascii", "backslashreplace").lower()
    return Query(identifier, bool(bits & 0x0100), name, kind, family, question, size)


def answer(query: Query, records: list[tuple[int, bytes]], code: int = NOERROR, *, stream: bool = False) -> bytes:
    """A complete answer. Over UDP, records that do not fit are omitted and the truncation bit is set."""
    body = b""
    count = 0
    truncated = False
    for kind, data in records:
        record = struct.pack(">HHHIH", 0xC00C, kind, IN, TTL, len(data)) + data
        if not stream and 12 + len(query.question) + len(body) + len(record) > query.size:
            truncated = True
            break
        body += record
        count += 1
    bits = 0x8000 | 0x0080 | (0x0100 if query.recursion_desired else 0) | (0x0200 if truncated else 0) | code
    return struct.pack(">6H", query.identifier, bits, 1, count, 0, 0) + query.question + body


def addresses(data: bytes, offset: int) -> list[str]:
    """The IPv4 addresses in a message that `answer` created; its records begin at `offset`. Stops at malformed data."""
    found = []
    record = struct.Struct(">HHHIH")
    while offset + record.size <= len(data):
        _, kind, family, _, length = record.unpack_from(data, offset)
        offset += record.size
        if (kind, family, length) != (A, IN, 4) or offset + length > len(data):
            break
        found.append(str(ipaddress.IPv4Address(data[offset : offset + length])))
        offset += length
    return found


def encode_name(name: str) -> bytes:
    """A domain name on the wire, uncompressed."""
    parts = [part.encode("ascii", "replace")[:63] for part in name.split(".") if part]
    return b"".join(bytes((len(part),)) + part for part in parts) + b"\0"


def reverse_name(name: str) -> str:
    """The address in the name of a PTR question: 4.3.2.1.in-addr.arpa → 1.2.3.4; "" for other names."""
    if name.endswith(".in-addr.arpa"):
        parts = name.removesuffix(".in-addr.arpa").split(".")
        text = ".".join(reversed(parts))
    elif name.endswith(".ip6.arpa"):
        digits = name.removesuffix(".ip6.arpa").split(".")
        joined = "".join(reversed(digits))
        text = ":".join(joined[i : i + 4] for i in range(0, len(joined), 4))
    else:
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
