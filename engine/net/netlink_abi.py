"""The binary form of netlink(7) messages, and the numbers of rtnetlink(7) and nfnetlink that several files use.

Standard library only, because the checks that every `up` makes import this file.
"""

from __future__ import annotations

import socket
import struct

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type
ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index

ERROR, DONE = 2, 3
"""NLMSG_*"""
REQUEST, ACK, DUMP_INTR, REPLACE, EXCLUSIVE, DUMP, CREATE, APPEND = 0x1, 0x4, 0x10, 0x100, 0x200, 0x300, 0x400, 0x800
"""NLM_F_*; their meanings depend on the type of the message."""

NEWLINK, DELLINK, GETLINK, NEWADDR, DELADDR, GETADDR, NEWROUTE, DELROUTE, GETROUTE = 16, 17, 18, 20, 21, 22, 24, 25, 26
NEWLINKPROP, DELLINKPROP = 108, 109
"""RTM_*"""
IFF_UP = 1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_LINKINFO, IFLA_IFALIAS, IFLA_GROUP, IFLA_NET_NS_FD, IFLA_EXT_MASK = 18, 20, 27, 28, 29
IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES, IFLA_PROP_LIST, IFLA_ALT_IFNAME = 31, 32, 52, 53
INFO_KIND, INFO_DATA, INFO_SLAVE_KIND, INFO_SLAVE_DATA = 1, 2, 4, 5
"""IFLA_INFO_*"""
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC = 1, 4, 5, 6, 7
RTN_UNICAST = 1

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
"""IP version → address family."""

NETFILTER = 12
"""NETLINK_NETFILTER, the protocol of nfnetlink."""
CONNTRACK, NFTABLES = 1, 10
"""Subsystems of nfnetlink: the upper byte of a message's type."""

NESTED = 0x8000
"""The flag in the number of an attribute whose value is attributes."""
_PADDING = b"", bytes(3), bytes(2), bytes(1)


def attribute(kind: int, value: bytes) -> bytes:
    """struct nlattr and its value, padded to a multiple of four bytes."""
    length = len(value)
    return ATTRIBUTE.pack(4 + length, kind) + value + _PADDING[length & 3]


def nested(kind: int, value: bytes) -> bytes:
    """An attribute whose value is attributes."""
    return attribute(kind | NESTED, value)


def attributes(body: bytes) -> dict[int, bytes]:
    """Attribute number → payload; the last one wins."""
    return dict(pairs(body))


def pairs(body: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, payload) of each attribute, in order."""
    offset = 0
    while offset + 4 <= len(body):
        length, kind = ATTRIBUTE.unpack_from(body, offset)
        yield kind & 0x3FFF, body[offset + 4 : offset + length]
        offset += max(4, (length + 3) & ~3)
