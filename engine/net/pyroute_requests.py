"""rtnetlink(7) requests encoded by pyroute2, for rarely used networks, because its import takes long."""

from __future__ import annotations

import socket
from typing import Any

from engine.net import netlink_abi as abi

NEWNEIGH = 28
_AF_BRIDGE, _PERMANENT, _SELF = 7, 0x80, 0x02
"""AF_BRIDGE, NUD_PERMANENT, NTF_SELF"""


def kind(name: str, data: list[tuple[str, Any]]) -> tuple[str, Any]:
    """The attribute with the kind of a link (ip-link(8))."""
    found: list[tuple[str, Any]] = [("IFLA_INFO_KIND", name)]
    if data:
        found.append(("IFLA_INFO_DATA", {"attrs": data}))
    return "IFLA_LINKINFO", {"attrs": found}


def link(attributes: list[tuple[str, Any]]) -> bytes:
    """A request that creates a link; it fails with EEXIST if the link exists."""
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

    message = ifinfmsg()
    message["family"] = socket.AF_UNSPEC
    message["header"]["type"] = abi.NEWLINK
    message["header"]["flags"] = abi.REQUEST | abi.ACK | abi.CREATE | abi.EXCLUSIVE
    message["attrs"] = attributes
    message.encode()
    return bytes(message.data)


def flood(index: int, address: str) -> bytes:
    """A request that lets the VXLAN link with this index send frames for unknown destinations to `address` (bridge(8),
    `fdb append`)."""
    from pyroute2.netlink.rtnl.ndmsg import ndmsg

    message = ndmsg()
    message["family"], message["ifindex"], message["state"], message["flags"] = _AF_BRIDGE, index, _PERMANENT, _SELF
    message["header"]["type"] = NEWNEIGH
    message["header"]["flags"] = abi.REQUEST | abi.ACK | abi.CREATE | abi.APPEND
    message["attrs"] = [("NDA_LLADDR", "00:00:00:00:00:00"), ("NDA_DST", address)]
    message.encode()
    return bytes(message.data)
