"""Names of the packet filter's chains, asked of the kernel itself. iptables-save knows them, too, but it is a program to be
run for each IP version, and the answer is most often that nothing of ours is there."""

from __future__ import annotations

import socket
import struct

from engine.errors import OperationFailed
from engine.net.rtnetlink import Netlink, attributes

_NETLINK_NETFILTER = 12
_GET_CHAIN = 10 << 8 | 4  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETCHAIN
_NAME = 3  # NFTA_CHAIN_NAME


def chains(version: int) -> set[str] | None:
    """The chains of all tables of this IP version in the namespace of this thread; None when only iptables-save can tell:
    legacy tables are in use, or nf_tables does not answer."""
    family, legacy = (socket.AF_INET, "ip") if version == 4 else (socket.AF_INET6, "ip6")
    try:
        with open(f"/proc/thread-self/net/{legacy}_tables_names", encoding="utf-8") as file:
            if file.read().strip():
                return None
    except FileNotFoundError:
        pass  # a kernel that has none
    except OSError:
        return None
    try:
        with Netlink(_NETLINK_NETFILTER) as kernel:
            found, changed = kernel.dump("list", "chains", _GET_CHAIN, struct.pack("=BBH", family, 0, 0))
    except (OSError, OperationFailed):
        return None
    if changed:
        return None
    return {attributes(body[4:]).get(_NAME, b"").rstrip(b"\0").decode(errors="replace") for body in found}
