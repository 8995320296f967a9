"""DHCP messages in Ethernet frames, for a client (RFC 2131, RFC 2132)."""

from __future__ import annotations

import ipaddress
import socket
import struct

from msgspec import Struct

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE = range(1, 8)
BROADCAST = b"\xff" * 6
CLIENT_PORT, SERVER_PORT = 68, 67
ETH_P_ALL, ETH_P_IP = 0x0003, 0x0800

_COOKIE = b"\x63\x82\x53\x63"
_BOOTP = struct.Struct(">BBBBIHH4s4s4s4s16s64s128s")
_ETHERNET = struct.Struct(">6s6sH")
_IP = struct.Struct(">BBHHHBBH4s4s")
_UDP = struct.Struct(">HHHH")
_WITH_BROADCAST = 0x8000
_MASK, _ROUTER, _HOST_NAME, _REQUESTED_ADDRESS, _TIME, _KIND, _SERVER, _WISHES, _T1, _T2 = (
    1,
    3,
    12,
    50,
    51,
    53,
    54,
    55,
    58,
    59,
)
_END = 255
_NEVER = 0xFFFFFFFF
_SHORTEST = 10
"""Seconds: shorter leases are renewed as if they had this length."""


class Lease(Struct, frozen=True):
    """A lease: `prefix` is a length, `seconds` the lease time from the ACK, 0 for ever; renewal starts after `renew`
    seconds. `server` is the server's address, `hardware` the sender of its answers (the server or a relay)."""

    address: str
    prefix: int
    gateway: str
    seconds: int
    renew: int
    server: str
    hardware: bytes = BROADCAST


class Answer(Struct, frozen=True):
    """`kind`: OFFER, ACK or NAK."""

    kind: int
    lease: Lease


def request(
    kind: int, transaction: int, mac: bytes, *, name: str = "", requested: str = "", server: str = "", bound: str = ""
) -> bytes:
    """The payload of a client's message. `requested`: the requested address; `bound`: the current address."""
    bits = 0 if bound else _WITH_BROADCAST  # request a broadcast answer, because the client has no address yet
    own = socket.inet_aton(bound) if bound else bytes(4)
    head = _BOOTP.pack(1, 1, 6, 0, transaction, 0, bits, own, bytes(4), bytes(4), bytes(4), mac, b"", b"")
    options = [(_KIND, bytes((kind,)))]
    if requested:
        options.append((_REQUESTED_ADDRESS, socket.inet_aton(requested)))
    if server:
        options.append((_SERVER, socket.inet_aton(server)))
    if kind != RELEASE:
        options += [(_HOST_NAME, name.encode()[:63])] if name else []
        options.append((_WISHES, bytes((_MASK, _ROUTER, _TIME, _T1, _T2))))
    text = b"".join(bytes((number, len(value))) + value for number, value in options)
    return (head + _COOKIE + text + bytes((_END,))).ljust(300, b"\0")


def frame(
    payload: bytes, mac: bytes, *, source: str = "0.0.0.0", to: str = "255.255.255.255", at: bytes = BROADCAST
) -> bytes:
    """The payload in UDP, IPv4 and Ethernet, from the client's port to the servers'. UDP needs no checksum (RFC 768)."""
    length = len(payload) + _UDP.size
    addresses = socket.inet_aton(source), socket.inet_aton(to)
    head = _IP.pack(0x45, 0, length + _IP.size, 0, 0, 64, socket.IPPROTO_UDP, 0, *addresses)
    head = head[:10] + struct.pack(">H", _checksum(head)) + head[12:]
    return _ETHERNET.pack(at, mac, ETH_P_IP) + head + _UDP.pack(CLIENT_PORT, SERVER_PORT, length, 0) + payload


def read(data: bytes, transaction: int, mac: bytes) -> Answer | None:
    """Parse a frame: a server's answer to this client; None for anything else, including malformed data."""
    try:
        _, hardware, kind = _ETHERNET.unpack_from(data)
        start = _ETHERNET.size + (data[14] & 0xF) * 4
        if kind != ETH_P_IP or data[23] != socket.IPPROTO_UDP:
            return None
        if _UDP.unpack_from(data, start)[1] != CLIENT_PORT:
            return None
        return _answer(data[start + _UDP.size :], transaction, mac, hardware)
    except (IndexError, struct.error, ValueError):
        return None


def _answer(body: bytes, transaction: int, mac: bytes, hardware: bytes) -> Answer | None:
    fields = _BOOTP.unpack_from(body)
    if fields[0] != 2 or fields[4] != transaction or fields[11][:6] != mac or body[_BOOTP.size :][:4] != _COOKIE:
        return None
    options = _options(body[_BOOTP.size + 4 :])
    kind = options.get(_KIND, b"\0")[0]
    if kind not in (OFFER, ACK, NAK):
        return None
    seconds = int.from_bytes(options.get(_TIME, b""), "big")
    seconds = 0 if seconds == _NEVER else seconds and max(seconds, _SHORTEST)
    renew = int.from_bytes(options.get(_T1, b""), "big")
    mask = int.from_bytes(options.get(_MASK, b"\xff\xff\xff\0"), "big")
    prefix = ipaddress.ip_network(f"0.0.0.0/{ipaddress.IPv4Address(mask)}").prefixlen
    lease = Lease(
        address=socket.inet_ntoa(fields[8]),
        prefix=prefix,
        gateway=_text(options.get(_ROUTER, b"")),
        seconds=seconds,
        renew=renew if 0 < renew < seconds else seconds // 2,
        server=_text(options.get(_SERVER, b"")),
        hardware=hardware,
    )
    if kind != NAK and not _is_usable(lease.address):
        return None
    return Answer(kind, lease)


def _is_usable(address: str) -> bool:
    found = ipaddress.IPv4Address(address)
    return not (found.is_unspecified or found.is_multicast or found.is_loopback or int(found) == 0xFFFFFFFF)


def _options(text: bytes) -> dict[int, bytes]:
    """Option number → value; repeated options are concatenated (RFC 3396)."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(text) and text[at] != _END:
        if text[at] == 0:
            at += 1
            continue
        length = text[at + 1]
        found[text[at]] = found.get(text[at], b"") + text[at + 2 : at + 2 + length]
        at += 2 + length
    return found


def _text(value: bytes) -> str:
    return socket.inet_ntoa(value[:4]) if len(value) >= 4 else ""


def _checksum(head: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(head) // 2}H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
