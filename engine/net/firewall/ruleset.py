"""The constant part of our table in nf_tables. Networks and published ports are elements of its sets and maps.

    forward      own network ─▶ accept │ internal ─▶ drop │ established ─▶ accept
                 into a bridge ─▶ inward: published, trusted, unprotected, routed ports ─▶ accept │ all else ─▶ drop
                 all else ─▶ others: empty, or what keeps the host from routing for others (forwarding.py)
    input        a tunnel's frame from another host than its peers ─▶ drop
                 from an internal network ─▶ guarded: its own gateway's port 53, ping ─▶ accept │ all else ─▶ drop
    prerouting, output ─▶ published: to an address of the host ─▶ DNAT by the maps
    postrouting  published port of one's own network, way out ─▶ masquerade, or SNAT to the requested address

In nf_tables only a drop is final: other tables, such as the administrator's, may still drop what we accept.
"""

from __future__ import annotations

import binascii
import functools
import struct
from collections.abc import Iterable

from engine.net.firewall.netlink import (
    ACCEPT,
    DELRULE,
    DROP,
    FORWARD,
    IFNAME,
    INPUT,
    INTERVAL,
    IPV4,
    IPV6,
    JUMP,
    MAP,
    OUTPUT,
    POSTROUTING,
    PREROUTING,
    RETURN,
    chain,
    compare,
    conntrack,
    lookup,
    masquerade,
    message,
    meta,
    new_set,
    payload,
    rule,
    table,
    text,
    to_this_host,
    translate,
    verdict,
)
from engine.net.overlay import settings as overlay

_IIFNAME, _OIFNAME, _NFPROTO, _L4PROTO, _IIFKIND, _OIFKIND = 6, 7, 15, 16, 26, 27
_NAME, _V4, _V6, _PROTO, _PORT, _VNI = (IFNAME, 16), (7, 4), (8, 16), (12, 4), (13, 4), (4, 4)
"""(type of nft(8), bytes in a key)"""
_IN, _OUT = meta(_IIFNAME), meta(_OIFNAME)
_BOTH = _IN + meta(_OIFNAME, 12)
_TRANSPORT_PORT = (2, 2, 2)
_VXLAN_ID = payload(2, 12, 3)
"""The offset of the VNI: after the UDP header and four bytes of flags (RFC 7348 section 5)."""
_ESTABLISHED, _RELATED, _DNAT = 2, 4, 32
KINDS = ("bridge", "tun", "wireguard")
"""Kinds of links that other programs create in order to forward packets."""


def _join(*fields: tuple[int, int]) -> tuple[int, int]:
    kind = 0
    for one, _ in fields:
        kind = kind << 6 | one
    return kind, sum(length for _, length in fields)


_FILTERING: dict[str, tuple[tuple[int, int], tuple[int, int], int]] = {
    "bridges": (_NAME, (0, 0), 0),
    "internal": (_NAME, (0, 0), 0),
    "within": (_join(_NAME, _NAME), (0, 0), 0),
    "trusted": (_join(_NAME, _NAME), (0, 0), 0),
    "unprotected": (_join(_NAME, (2, 4)), (0, 0), 0),
    "routed": (_join(_NAME, _PROTO), (0, 0), 0),
    "direct4": (_join(_V4, _PROTO, _PORT), (0, 0), 0),
    "direct6": (_join(_V6, _PROTO, _PORT), (0, 0), 0),
    "tunnels": (_VNI, (0, 0), 0),
    "peers4": (_join(_VNI, _V4), (0, 0), 0),
    "peers6": (_join(_VNI, _NAME, _V6), (0, 0), 0),
    "gateways4": (_join(_NAME, _V4), (0, 0), 0),
    "gateways6": (_join(_NAME, _V6), (0, 0), 0),
}
_TRANSLATING: dict[str, tuple[tuple[int, int], tuple[int, int], int]] = {
    "subnets4": (_V4, (0, 0), INTERVAL),
    "subnets6": (_V6, (0, 0), INTERVAL),
    "masquerade4": (_V4, (0, 0), INTERVAL),
    "masquerade6": (_V6, (0, 0), INTERVAL),
    "source4": (_V4, _V4, INTERVAL | MAP),
    "source6": (_V6, _V6, INTERVAL | MAP),
    "ports4": (_join(_V4, _PROTO, _PORT), _join(_V4, _PORT), MAP),
    "ports6": (_join(_V6, _PROTO, _PORT), _join(_V6, _PORT), MAP),
    "any4": (_join(_PROTO, _PORT), _join(_V4, _PORT), MAP),
    "any6": (_join(_PROTO, _PORT), _join(_V6, _PORT), MAP),
}
NETWORK_SETS = ("bridges", "internal", "within", "trusted", "unprotected", "routed", "tunnels", "peers4", "peers6",
    "gateways4", "gateways6",
    "subnets4", "subnets6", "masquerade4", "masquerade6", "source4", "source6")  # fmt: skip
PORT_SETS = ("direct4", "direct6", "ports4", "ports6", "any4", "any6")
GUARDED = frozenset(_FILTERING)
"""The sets that a guard has as well (enforce.py)."""


@functools.cache
def note() -> bytes:
    """A comment that distinguishes a table of this layout from those of other releases."""
    return struct.pack(">I", binascii.crc32(b"".join(_contents("composer", translating=True))))


@functools.cache
def rules() -> int:
    """The number of rules in the table, without the chain `others`."""
    return sum(message[4:6] == struct.pack("=H", 10 << 8 | 6) for message in _contents("composer", translating=True))


def whole(name: str) -> list[bytes]:
    """Create the table; fails with EEXIST if it exists."""
    return [table(name, note=note(), exclusive=True), *_contents(name, translating=True)]


def guard(name: str, flags: int) -> list[bytes]:
    """The guard: only the rules that drop, in a table with these flags."""
    return [table(name, flags=flags, exclusive=True), *_contents(name, translating=False)]


def closed(name: str, versions: Iterable[int]) -> list[bytes]:
    """Replace the rules of this table's chain `others` by `closing`."""
    emptied = message(DELRULE, text(1, name) + text(2, "others"))
    return [emptied, *(rule(name, "others", expressions) for expressions in closing(versions))]


def closing(versions: Iterable[int]) -> list[bytes]:
    """Rules that drop forwarded packets of these IP versions that are unrelated to us, except on links made for
    forwarding. A rule that reads the kind of a link without a kind does not match."""
    drops = [_family({4: IPV4, 6: IPV6}[version]) + verdict(DROP) for version in versions]
    if not drops:
        return []
    found = [_IN + lookup("bridges") + verdict(ACCEPT)]
    for key in (_IIFKIND, _OIFKIND):
        for kind in KINDS:
            found.append(meta(key) + compare(kind.encode().ljust(16, b"\0")) + verdict(ACCEPT))
    return [*found, *drops]


def _contents(name: str, *, translating: bool) -> list[bytes]:
    sets = {**_FILTERING, **(_TRANSLATING if translating else {})}
    found = [new_set(name, key, *sets[key], number) for number, key in enumerate(sets, 1)]
    for inner in ("inward", "others", "guarded", "tunnelled", *(("published",) if translating else ())):
        found.append(chain(name, inner))
    found += [chain(name, "forward", "filter", FORWARD), chain(name, "input", "filter", INPUT)]
    if translating:
        found.append(chain(name, "prerouting", "nat", PREROUTING, -100))
        found.append(chain(name, "output", "nat", OUTPUT, -100))
        found.append(chain(name, "postrouting", "nat", POSTROUTING, 100))
    in_chains = {**_filtering(), **(_translating() if translating else {})}
    return found + [rule(name, where, one) for where, rules in in_chains.items() for one in rules]


@functools.cache
def _filtering() -> dict[str, list[bytes]]:
    return {
        "forward": _forward(),
        "inward": _inward(),
        "input": _input(),
        "guarded": _guarded(),
        "tunnelled": _tunnelled(),
    }


@functools.cache
def _translating() -> dict[str, list[bytes]]:
    return {
        "prerouting": _prerouting(),
        "output": [verdict(JUMP, "published")],
        "published": _published(),
        "postrouting": _postrouting(),
    }


def _family(family: int) -> bytes:
    return meta(_NFPROTO) + compare(bytes((family,)))


def _address(family: int, *, source: bool = False, register: int = 8) -> bytes:
    if family == IPV4:
        return payload(1, 12 if source else 16, 4, register)
    return payload(1, 8 if source else 24, 16, register)


def _forward() -> list[bytes]:
    return [
        _BOTH + lookup("within") + verdict(ACCEPT),
        _IN + lookup("internal") + verdict(DROP),
        _OUT + lookup("internal") + verdict(DROP),
        conntrack(0, _ESTABLISHED | _RELATED) + verdict(ACCEPT),
        _OUT + lookup("bridges") + verdict(JUMP, "inward"),
        verdict(JUMP, "others"),
    ]


def _inward() -> list[bytes]:
    found = [
        conntrack(2, _DNAT) + verdict(ACCEPT),
        _BOTH + lookup("trusted") + verdict(ACCEPT),
        _OUT + meta(_NFPROTO, 12) + lookup("unprotected") + verdict(ACCEPT),
        _OUT + meta(_L4PROTO, 12) + lookup("routed") + verdict(ACCEPT),
    ]
    for family, suffix, after in ((IPV4, "4", 9), (IPV6, "6", 12)):
        key = _address(family) + meta(_L4PROTO, after) + payload(*_TRANSPORT_PORT, after + 1)
        found.append(_family(family) + key + lookup(f"direct{suffix}") + verdict(ACCEPT))
    return [*found, verdict(DROP)]


def _input() -> list[bytes]:
    vxlan = (
        meta(_L4PROTO) + compare(bytes((17,))) + payload(*_TRANSPORT_PORT) + compare(struct.pack(">H", overlay.PORT))
    )
    return [
        vxlan + _VXLAN_ID + lookup("tunnels") + verdict(JUMP, "tunnelled"),
        _IN + lookup("internal") + verdict(JUMP, "guarded"),
    ]


def _tunnelled() -> list[bytes]:
    """An unencrypted frame from a peer's address; or one from the WireGuard link, whose addresses cannot be forged."""
    plain = _VXLAN_ID + _address(IPV4, source=True, register=9) + lookup("peers4")
    sealed = _VXLAN_ID + meta(_IIFNAME, 9) + _address(IPV6, source=True, register=13) + lookup("peers6")
    return [_family(IPV4) + plain + verdict(ACCEPT), _family(IPV6) + sealed + verdict(ACCEPT), verdict(DROP)]


def _guarded() -> list[bytes]:
    """Neighbour discovery (133 to 137), which IPv6 also needs for answers; DNS and echo requests (ping) to the network's
    own gateway."""
    found = [conntrack(0, _ESTABLISHED | _RELATED) + verdict(ACCEPT)]
    kind = meta(_L4PROTO) + compare(bytes((58,))) + payload(2, 0, 1)
    found.append(kind + compare(bytes((133,)), 5) + compare(bytes((137,)), 3) + verdict(ACCEPT))
    for protocol in (6, 17):
        dns = meta(_L4PROTO) + compare(bytes((protocol,))) + payload(*_TRANSPORT_PORT) + compare(b"\0\x35")
        for family, suffix in ((IPV4, "4"), (IPV6, "6")):
            key = _IN + _address(family, register=12) + lookup(f"gateways{suffix}")
            found.append(_family(family) + dns + key + verdict(ACCEPT))
    for family, suffix, protocol, echo in ((IPV4, "4", 1, 8), (IPV6, "6", 58, 128)):
        ping = meta(_L4PROTO) + compare(bytes((protocol,))) + payload(2, 0, 1) + compare(bytes((echo,)))
        key = _IN + _address(family, register=12) + lookup(f"gateways{suffix}")
        found.append(_family(family) + ping + key + verdict(ACCEPT))
    return [*found, verdict(DROP)]


def _prerouting() -> list[bytes]:
    return [_IN + lookup("internal") + verdict(RETURN), verdict(JUMP, "published")]


def _published() -> list[bytes]:
    """A port on a specific address comes before a port on all addresses. Never for loopback addresses, which the relay
    serves: packets from them must not leave the host, and packets from other hosts must not reach them."""
    found = [
        _family(IPV4) + payload(1, 16, 1) + compare(b"\x7f") + verdict(RETURN),
        _family(IPV6) + _address(IPV6) + compare(bytes(15) + b"\1") + verdict(RETURN),
    ]
    for family, suffix, length in ((IPV4, "4", 1), (IPV6, "6", 4)):
        to = translate(1, family, 8, 8 + length)
        proto, port = meta(_L4PROTO, 8 + length), payload(*_TRANSPORT_PORT, 9 + length)
        one = _address(family) + proto + port + lookup(f"ports{suffix}", into=8)
        every = meta(_L4PROTO) + payload(*_TRANSPORT_PORT, 9) + lookup(f"any{suffix}", into=8)
        found += [_family(family) + to_this_host() + key + to for key in (one, every)]
    return found


def _postrouting() -> list[bytes]:
    found = []
    for family, suffix in ((IPV4, "4"), (IPV6, "6")):
        here, source = _family(family), _address(family, source=True)
        out = _OUT + lookup("bridges", inverted=True)
        own = source + lookup(f"subnets{suffix}") + _address(family) + lookup(f"subnets{suffix}")
        found.append(here + conntrack(2, _DNAT) + own + masquerade())
        found.append(here + out + source + lookup(f"source{suffix}", into=8) + translate(0, family, 8))
        found.append(here + out + source + lookup(f"masquerade{suffix}") + masquerade())
    return found
