"""rtnetlink(7) requests that pyroute2 encodes: for networks that few have, as it takes long to import."""

from __future__ import annotations

import socket
from typing import Any

from engine.net import messages

NEWNEIGH = 28
_AF_BRIDGE, _PERMANENT, _SELF = 7, 0x80, 0x02
"""AF_BRIDGE, NUD_PERMANENT, NTF_SELF"""
_APPEND = 0x800
"""NLM_F_APPEND"""


def kind(name: str, data: list[tuple[str, Any]]) -> tuple[str, Any]:
    """The attribute that says what kind of link it is (ip-link(8))."""
    found: list[tuple[str, Any]] = [("IFLA_INFO_KIND", name)]
    if data:
        found.append(("IFLA_INFO_DATA", {"attrs": data}))
    return "IFLA_LINKINFO", {"attrs": found}


def link(attributes: list[tuple[str, Any]]) -> bytes:
    """A request that makes a link; it fails with EEXIST where there is one."""
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

    message = ifinfmsg()
    message["family"] = socket.AF_UNSPEC
    message["header"]["type"] = messages.NEWLINK
    message["header"]["flags"] = messages.REQUEST | messages.ACK | messages.CREATE | messages.EXCLUSIVE
    message["attrs"] = attributes
    message.encode()
    return bytes(message.data)


def flood(index: int, address: str) -> bytes:
    """A request that has the VXLAN link with this index send to `address` what it knows no other place for (bridge(8),
    `fdb append`)."""
    from pyroute2.netlink.rtnl.ndmsg import ndmsg

    message = ndmsg()
    message["family"], message["ifindex"], message["state"], message["flags"] = _AF_BRIDGE, index, _PERMANENT, _SELF
    message["header"]["type"] = NEWNEIGH
    message["header"]["flags"] = messages.REQUEST | messages.ACK | messages.CREATE | _APPEND
    message["attrs"] = [("NDA_LLADDR", "00:00:00:00:00:00"), ("NDA_DST", address)]
    message.encode()
    return bytes(message.data)
