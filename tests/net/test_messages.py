"""Our rtnetlink messages are those of pyroute2, byte for byte."""

from itertools import count

import pytest
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from engine.net import messages

MAC, ACK = "02:42:ac:11:00:02", 0x1 | 0x4
NEW, REPLACE = ACK | 0x400 | 0x200, ACK | 0x400 | 0x100


def encoded(message, kind, bits, attributes, fields):
    message["header"]["type"], message["header"]["flags"] = kind, bits
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = list(attributes)
    message.encode()
    return bytes(message.data)


def attrs(*pairs):
    return {"attrs": list(pairs)}


UP = {"flags": 1, "change": 1}
BRIDGE = ("IFLA_LINKINFO", attrs(("IFLA_INFO_KIND", "bridge")))


def veth(mtu):
    size = [*([("IFLA_MTU", mtu)] if mtu else []), ("IFLA_NUM_TX_QUEUES", 1), ("IFLA_NUM_RX_QUEUES", 1)]
    peer = attrs(("IFLA_IFNAME", "eth0"), ("IFLA_ADDRESS", MAC), ("IFLA_NET_NS_FD", 9), *size)
    kind = attrs(("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", attrs(("VETH_INFO_PEER", peer))))
    return [("IFLA_IFNAME", "cv1"), ("IFLA_MASTER", 5), *size, ("IFLA_LINKINFO", kind)]


def port(isolated):
    flags = [("IFLA_BRPORT_MODE", 1), *([("IFLA_BRPORT_ISOLATED", 1)] if isolated else [])]
    kind = attrs(("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", attrs(*flags)))
    return [("IFLA_IFNAME", "cv1"), ("IFLA_LINKINFO", kind)]


CASES = [
    (messages.bridge("b", MAC), ifinfmsg, 16, NEW, [("IFLA_IFNAME", "b"), ("IFLA_ADDRESS", MAC), BRIDGE], {}),
    (
        messages.bridge("br12345", MAC, 1400), ifinfmsg, 16, NEW,
        [("IFLA_IFNAME", "br12345"), ("IFLA_ADDRESS", MAC), BRIDGE, ("IFLA_MTU", 1400)], {},
    ),
    (messages.veth("cv1", 5, "eth0", 9, MAC), ifinfmsg, 16, NEW, veth(0), UP),
    (messages.veth("cv1", 5, "eth0", 9, MAC, 9000), ifinfmsg, 16, NEW, veth(9000), UP),
    (messages.alias("b", "composer:x"), ifinfmsg, 16, ACK, [("IFLA_IFNAME", "b"), ("IFLA_IFALIAS", "composer:x")], {}),
    *((messages.bridge_port("cv1", isolated=isolated), ifinfmsg, 16, ACK, port(isolated), {}) for isolated in (False, True)),
    (messages.delete_link("cv1"), ifinfmsg, 17, ACK, [("IFLA_IFNAME", "cv1")], {}),
    (messages.link_up(3), ifinfmsg, 16, ACK, [], {"index": 3, **UP}),
    (
        messages.address(3, "10.0.0.2", 24, "10.0.0.255"), ifaddrmsg, 20, REPLACE,
        [("IFA_ADDRESS", "10.0.0.2"), ("IFA_LOCAL", "10.0.0.2"), ("IFA_BROADCAST", "10.0.0.255")],
        {"family": 2, "prefixlen": 24, "index": 3},
    ),
    (
        messages.address(3, "fd00::2", 64), ifaddrmsg, 20, REPLACE,
        [("IFA_ADDRESS", "fd00::2"), ("IFA_LOCAL", "fd00::2")],
        {"family": 10, "prefixlen": 64, "index": 3, "flags": 2},
    ),
    (
        messages.delete_address(3, "10.0.0.1", 16), ifaddrmsg, 21, ACK,
        [("IFA_LOCAL", "10.0.0.1"), ("IFA_ADDRESS", "10.0.0.1")], {"family": 2, "prefixlen": 16, "index": 3},
    ),
    *(
        (
            messages.alternative_name(kind, 1, "other.name"), ifinfmsg, kind, ACK,
            [("IFLA_PROP_LIST", attrs(("IFLA_ALT_IFNAME", "other.name")))], {"index": 1},
        )
        for kind in (108, 109)
    ),
    *(
        (
            messages.default_route(gateway, 4), rtmsg, 24, REPLACE, [("RTA_GATEWAY", gateway), ("RTA_OIF", 4)],
            {"family": family, "table": 254, "proto": 3, "type": 1, "scope": 0},
        )
        for gateway, family in (("10.0.0.1", 2), ("fd00::1", 10))
    ),
    (
        messages.subnet_route("10.0.0.0/24", 4, "10.0.0.1"), rtmsg, 24, NEW,
        [("RTA_DST", "10.0.0.0"), ("RTA_OIF", 4), ("RTA_PREFSRC", "10.0.0.1")],
        {"family": 2, "dst_len": 24, "table": 254, "proto": 2, "type": 1, "scope": 253},
    ),
    (
        messages.subnet_route("fd00::/64", 4, "fd00::1"), rtmsg, 24, NEW,
        [("RTA_DST", "fd00::"), ("RTA_OIF", 4), ("RTA_PRIORITY", 256)],
        {"family": 10, "dst_len": 64, "table": 254, "proto": 2, "type": 1, "scope": 0},
    ),
    *(
        (
            messages.marked(version, 7, 9), fibmsg, 32, NEW, [("FRA_FWMARK", 7)],
            {"family": family, "table": 9, "action": 1},
        )
        for version, family in ((4, 2), (6, 10))
    ),
    (
        messages.all_local(4, 9, 1), rtmsg, 24, REPLACE, [("RTA_OIF", 1)],
        {"family": 2, "table": 9, "proto": 3, "type": 2, "scope": 254},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("ours", "message", "kind", "bits", "attributes", "fields"), CASES, ids=count())
def test_messages_equal_pyroute2(ours, message, kind, bits, attributes, fields):
    assert ours == encoded(message(), kind, bits, attributes, fields)


def test_ipvlan_with_its_flags():
    """pyroute2 omits the flags; everything else is equal."""
    kind = attrs(("IFLA_INFO_KIND", "ipvlan"), ("IFLA_INFO_DATA", attrs(("IFLA_IPVLAN_MODE", 2))))
    given = [("IFLA_IFNAME", "eth0"), ("IFLA_LINK", 3), ("IFLA_NET_NS_FD", 9), ("IFLA_LINKINFO", kind)]
    theirs = encoded(ifinfmsg(), 16, NEW, given, {})
    ours = messages.ipvlan("eth0", 3, 9, 2, 1)
    assert ours.endswith(bytes.fromhex("0600020001000000")) and len(ours) == len(theirs) + 8
    lengths = (0, 4), (len(ours) - 36, 2), (len(ours) - 20, 2)  # of the message, its IFLA_LINKINFO and IFLA_INFO_DATA
    expected = bytearray(theirs)
    for at, size in lengths:
        expected[at : at + size] = (int.from_bytes(expected[at : at + size], "little") + 8).to_bytes(size, "little")
    assert ours[:-8] == bytes(expected)
