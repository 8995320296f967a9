"""The constant part of our table in nf_tables. Networks and published ports are elements of its sets and maps.

    forward      own network ─▶ accept │ internal ─▶ drop │ established ─▶ accept
                 into a bridge ─▶ inward: published, trusted, unprotected, routed ports ─▶ accept │ all else ─▶ drop
                 all else ─▶ others: empty, or what keeps the host from routing for others (forwarding.py)
    input        a tunnel's frame from another host than its peers ─▶ drop
                 from an internal network ─▶ guarded: its own gateway's port 53, ping ─▶ accept │ all else ─▶ drop
    prerouting, output ─▶ published: to an address of the host ─▶ DNAT by the maps
    outbound     from 127.0.0.1 to a published port: the network's gateway becomes its source, so that it can leave
    inbound      answer to such a packet: 127.0.0.1 becomes its destination again
    answers      to a client whose address the relay has used ─▶ marked (returning.py); only for an ordinary user
    relayed      to a port that packet rules cannot forward ─▶ the relay's inlet (relay.py)
    postrouting  published port of one's own network, way out ─▶ masquerade, or SNAT to the requested address

In nf_tables only a drop is final: other tables, such as the administrator's, may still drop what we accept.
"""

from __future__ import annotations

import binascii
import functools
import struct
from collections.abc import Iterable

import engine.rootless.client as rootless
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
    divert,
    has_transparent_socket,
    is_answer,
    load,
    lookup,
    mark,
    masquerade,
    message,
    meta,
    new_set,
    original,
    payload,
    rewrite,
    rule,
    table,
    text,
    to_this_host,
    translate,
    verdict,
)
from engine.net.overlay import settings as overlay
from engine.net.relay import returning

_IIFNAME, _OIFNAME, _NFPROTO, _L4PROTO, _IIFKIND, _OIFKIND = 6, 7, 15, 16, 26, 27
_NAME, _V4, _V6, _PROTO, _PORT, _VNI = (IFNAME, 16), (7, 4), (8, 16), (12, 4), (13, 4), (4, 4)
"""(type of nft(8), bytes in a key)"""
_SERVICE = (13, 2)
"""A port that is not part of a longer value."""
_IN, _OUT = meta(_IIFNAME), meta(_OIFNAME)
_BOTH = _IN + meta(_OIFNAME, 12)
_TRANSPORT_PORT = (2, 2, 2)
_VXLAN_ID = payload(2, 12, 3)
"""The offset of the VNI: after the UDP header and four bytes of flags (RFC 7348 section 5)."""
_LOOPBACK = {IPV4: b"\x7f\0\0\1", IPV6: bytes(15) + b"\1"}
_SOURCE, _DESTINATION = {IPV4: 12, IPV6: 8}, {IPV4: 16, IPV6: 24}
"""Offsets in the network header."""
_ORIGINAL_SOURCE, _ORIGINAL_DESTINATION = 19, 20
"""Fields of a tracked connection: NFT_CT_SRC_IP, NFT_CT_DST_IP."""
_LATER = 16
"""A register behind those of the keys."""
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
    "origins4": (_V4, (0, 0), 0),
    "origin_ports4": (_join(_V4, _PROTO, _PORT), _V4, MAP),
    "origin_any4": (_join(_PROTO, _PORT), _V4, MAP),
    "relayed_ports4": (_join(_V4, _PROTO, _PORT), _SERVICE, MAP),
    "relayed_ports6": (_join(_V6, _PROTO, _PORT), _SERVICE, MAP),
    "relayed_any4": (_join(_PROTO, _PORT), _SERVICE, MAP),
    "relayed_any6": (_join(_PROTO, _PORT), _SERVICE, MAP),
}
_RAW, _MANGLE, _AFTER_NAT = -300, -150, 200
"""Priorities of chains: before connections are tracked; before DNAT; after answers have been translated back."""
NETWORK_SETS = ("bridges", "internal", "within", "trusted", "unprotected", "routed", "tunnels", "peers4", "peers6",
    "gateways4", "gateways6",
    "subnets4", "subnets6", "masquerade4", "masquerade6", "source4", "source6",
    "origins4")  # fmt: skip
PORT_SETS = ("direct4", "direct6", "ports4", "ports6", "any4", "any6",
    "origin_ports4", "origin_any4", "relayed_ports4", "relayed_ports6", "relayed_any4", "relayed_any6")  # fmt: skip
GUARDED = frozenset(_FILTERING)
"""The sets that a guard has as well (enforce.py)."""


_left_out: set[str] = set()
"""The chain `relayed`, if the kernel has no tproxy."""


def leave_out_relay() -> None:
    """From now on, use no rule that needs nft_tproxy."""
    _left_out.add("relayed")
    for cached in (note, rules, _translating):
        cached.cache_clear()


def has_relay() -> bool:
    return not _left_out


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
        found.append(chain(name, "outbound", "filter", OUTPUT, _RAW))
        found.append(chain(name, "inbound", "filter", INPUT, _AFTER_NAT))
        if has_relay():
            found.append(chain(name, "relayed", "filter", PREROUTING, _MANGLE))
        if rootless.here():
            found.append(chain(name, "answers", "filter", PREROUTING, _MANGLE))
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
        "output": [*_from_loopback(RETURN), verdict(JUMP, "published")],
        "published": _published(),
        "postrouting": _postrouting(),
        "outbound": _outbound(),
        "inbound": _inbound(),
        **({"relayed": _relayed()} if has_relay() else {}),
        **({"answers": _answers()} if rootless.here() else {}),
    }


def _family(family: int) -> bytes:
    return meta(_NFPROTO) + compare(bytes((family,)))


def _address(family: int, *, source: bool = False, register: int = 8) -> bytes:
    return payload(1, (_SOURCE if source else _DESTINATION)[family], 4 if family == IPV4 else 16, register)


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
    for family, suffix in ((IPV4, "4"), (IPV6, "6")):
        found.append(_family(family) + _keys(family)[0] + lookup(f"direct{suffix}") + verdict(ACCEPT))
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
    """Packets from other hosts never reach loopback addresses."""
    found = [_IN + lookup("internal") + verdict(RETURN)]
    for family in (IPV4, IPV6):
        found.append(_family(family) + _address(family) + _is_loopback(family) + verdict(RETURN))
    return [*found, verdict(JUMP, "published")]


def _is_loopback(family: int) -> bytes:
    """Continue if the address in register 8 is a loopback address."""
    return compare(b"\x7f") if family == IPV4 else compare(_LOOPBACK[IPV6])


def _from_loopback(code: int) -> list[bytes]:
    """Packets with a source that must not leave the host."""
    return [
        _family(family) + _address(family, source=True) + _is_loopback(family) + verdict(code)
        for family in (IPV4, IPV6)
    ]


def _outbound() -> list[bytes]:
    """Only IPv4: the relay serves ::1. nft(8) cannot list a lookup of what another lookup has found, so the gateways have
    maps of their own."""
    here = _family(IPV4) + _address(IPV4, source=True) + compare(_LOOPBACK[IPV4]) + _address(IPV4) + _is_loopback(IPV4)
    one, every = _keys(IPV4)
    maps = (one + lookup("origin_ports4", into=8), every + lookup("origin_any4", into=8))
    return [here + found + rewrite(_SOURCE[IPV4], 4) for found in maps]


def _inbound() -> list[bytes]:
    asked = original(_ORIGINAL_DESTINATION) + _is_loopback(IPV4) + original(_ORIGINAL_SOURCE) + lookup("origins4")
    return [_family(IPV4) + is_answer() + asked + load(_LOOPBACK[IPV4]) + rewrite(_DESTINATION[IPV4], 4)]


def _relayed() -> list[bytes]:
    found = []
    for family, suffix in ((IPV4, "4"), (IPV6, "6")):
        one, every = (
            key + lookup(f"relayed_{name}{suffix}", into=_LATER)
            for key, name in zip(_keys(family), ("ports", "any"), strict=True)
        )
        to = load(_LOOPBACK[family]) + divert(family, 8, _LATER) + verdict(ACCEPT)
        found += [_family(family) + to_this_host() + key + to for key in (one, every)]
    return found


def _answers() -> list[bytes]:
    return [_IN + lookup("bridges") + has_transparent_socket() + mark(returning.MARK)]


def _published() -> list[bytes]:
    """A port on a specific address comes before a port on all addresses."""
    found = []
    for family, suffix, length in ((IPV4, "4", 1), (IPV6, "6", 4)):
        one, every = _keys(family)
        to = translate(1, family, 8, 8 + length)
        for key in (one + lookup(f"ports{suffix}", into=8), every + lookup(f"any{suffix}", into=8)):
            found.append(_family(family) + to_this_host() + key + to)
    return found


def _keys(family: int) -> tuple[bytes, bytes]:
    """Load destination address, protocol and port; or protocol and port."""
    after = 9 if family == IPV4 else 12
    address = _address(family) + meta(_L4PROTO, after) + payload(*_TRANSPORT_PORT, after + 1)
    return address, meta(_L4PROTO) + payload(*_TRANSPORT_PORT, 9)


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
