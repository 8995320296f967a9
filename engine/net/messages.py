"""rtnetlink(7) messages, encoded by pyroute2, in the few shapes that we need.

`import pyroute2` costs 130 ms because its package imports everything it has; the message classes alone cost 15 ms. So
the package object is made without running its __init__, and the submodules are imported through it as usual.
"""

from __future__ import annotations

import importlib.util
import socket
import struct
import sys
import types
from typing import Any


def _narrow_import() -> None:
    if "pyroute2" not in sys.modules:
        spec = importlib.util.find_spec("pyroute2")
        if spec is None or spec.submodule_search_locations is None:
            raise ImportError("pyroute2 is not installed")
        package = types.ModuleType("pyroute2")
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = spec
        sys.modules["pyroute2"] = package


_narrow_import()

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # noqa: E402
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # noqa: E402
from pyroute2.netlink.rtnl.rtmsg import rtmsg  # noqa: E402

NEWLINK, DELLINK, NEWADDR, DELADDR, NEWROUTE = 16, 17, 20, 21, 24
SETLINK = 19
REQUEST, ACK, EXCLUSIVE, CREATE, REPLACE = 0x1, 0x4, 0x200, 0x400, 0x100
IFF_UP = 1
_AF_BRIDGE, _IFLA_PROTINFO, _NLA_F_NESTED = 7, 12, 0x8000
_IFLA_BRPORT_MODE, _IFLA_BRPORT_ISOLATED = 4, 33

Attributes = list[tuple[str, Any]]


def _encode(message: Any, kind: int, bits: int) -> bytes:
    message["header"]["type"] = kind
    message["header"]["flags"] = REQUEST | ACK | bits
    message.encode()
    return bytes(message.data)


def bridge(name: str, mac: str, mtu: int = 0) -> bytes:
    """Make a bridge link, up."""
    attributes: Attributes = [
        ("IFLA_IFNAME", name),
        ("IFLA_ADDRESS", mac),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]}),
    ]
    if mtu:
        attributes.append(("IFLA_MTU", mtu))
    message = ifinfmsg()
    message["flags"] = message["change"] = IFF_UP
    message["attrs"] = attributes
    return _encode(message, NEWLINK, CREATE | EXCLUSIVE)


def veth(name: str, master: int, peer: str, netns: int, mac: str, mtu: int = 0) -> bytes:
    """Make a veth pair: `name` here, up and a port of the bridge with index `master`; `peer`, with the hardware address
    `mac` and not yet up (it could not be before the pair is whole), in the network namespace open at `netns`."""
    far_attributes: Attributes = [("IFLA_IFNAME", peer), ("IFLA_ADDRESS", mac), ("IFLA_NET_NS_FD", netns)]
    near_attributes: Attributes = [("IFLA_IFNAME", name), ("IFLA_MASTER", master)]
    if mtu:
        far_attributes.append(("IFLA_MTU", mtu))
        near_attributes.append(("IFLA_MTU", mtu))
    information = {
        "attrs": [
            ("IFLA_INFO_KIND", "veth"),
            (
                "IFLA_INFO_DATA",
                {"attrs": [("VETH_INFO_PEER", {"attrs": far_attributes})]},
            ),
        ]
    }
    message = ifinfmsg()
    message["flags"] = message["change"] = IFF_UP
    message["attrs"] = [*near_attributes, ("IFLA_LINKINFO", information)]
    return _encode(message, NEWLINK, CREATE | EXCLUSIVE)


def alias(name: str, text: str) -> bytes:
    """Give the link an ifalias (ip-link(8)): what it is for, readable by anybody."""
    message = ifinfmsg()
    message["attrs"] = [("IFLA_IFNAME", name), ("IFLA_IFALIAS", text)]
    return _encode(message, NEWLINK, 0)


def delete_link(name: str) -> bytes:
    message = ifinfmsg()
    message["attrs"] = [("IFLA_IFNAME", name)]
    return _encode(message, DELLINK, 0)


def link_up(index: int) -> bytes:
    message = ifinfmsg()
    message["index"] = index
    message["flags"] = message["change"] = IFF_UP
    return _encode(message, NEWLINK, 0)


def address(index: int, ip: str, prefix: int, broadcast: str = "") -> bytes:
    """Give the link an address; IPv6 without duplicate address detection, which would keep it unusable for a second."""
    message = ifaddrmsg()
    v6 = ":" in ip
    message["family"] = socket.AF_INET6 if v6 else socket.AF_INET
    message["prefixlen"] = prefix
    message["index"] = index
    attributes: Attributes = [("IFA_ADDRESS", ip), ("IFA_LOCAL", ip)]
    if v6:
        message["flags"] = 0x02  # IFA_F_NODAD
    elif broadcast:
        attributes.append(("IFA_BROADCAST", broadcast))
    message["attrs"] = attributes
    return _encode(message, NEWADDR, CREATE | REPLACE)


def delete_address(index: int, ip: str, prefix: int) -> bytes:
    message = ifaddrmsg()
    message["family"] = socket.AF_INET6 if ":" in ip else socket.AF_INET
    message["prefixlen"] = prefix
    message["index"] = index
    message["attrs"] = [("IFA_LOCAL", ip), ("IFA_ADDRESS", ip)]
    return _encode(message, DELADDR, 0)


def bridge_port(index: int, *, isolated: bool) -> bytes:
    """Let this port of a bridge send back where a frame came from (ip-link(8), hairpin on): with br_netfilter a container's
    connection to its own published port turns round in the bridge. `isolated` keeps it from talking to the bridge's other
    isolated ports."""
    ports = struct.pack("=HHB3x", 5, _IFLA_BRPORT_MODE, 1)
    if isolated:
        ports += struct.pack("=HHB3x", 5, _IFLA_BRPORT_ISOLATED, 1)
    protocol = struct.pack("=HH", 4 + len(ports), _IFLA_PROTINFO | _NLA_F_NESTED) + ports
    body = struct.pack("=BxHiII", _AF_BRIDGE, 0, index, 0, 0) + protocol
    return struct.pack("=IHHII", 16 + len(body), SETLINK, REQUEST | ACK, 0, 0) + body


def default_route(gateway: str, index: int) -> bytes:
    """The one default route of the address's family, in place of another."""
    message = rtmsg()
    message["family"] = socket.AF_INET6 if ":" in gateway else socket.AF_INET
    message["table"], message["proto"], message["type"], message["scope"] = 254, 3, 1, 0
    message["attrs"] = [("RTA_GATEWAY", gateway), ("RTA_OIF", index)]
    return _encode(message, NEWROUTE, CREATE | REPLACE)
