"""The tunnel of an overlay network: a VXLAN link that is a port of the network's bridge.

It floods to all other hosts, and learns the location of addresses from incoming frames. The packet filter accepts
frames only from those hosts (layout.py)."""

from __future__ import annotations

import errno
from collections.abc import Collection

from engine.errors import OperationFailed, Unsupported
from engine.net import messages, pyroute_requests
from engine.net.firewall import probe
from engine.net.overlay import settings, wireguard
from engine.net.rtnetlink import Rtnetlink
from engine.rootless.client import here
from engine.spec.network import NetworkRecord, NetworkSpec


def name(record: NetworkRecord) -> str:
    return f"cmv-{record.id[:11]}"


def mtu(spec: NetworkSpec) -> int:
    """The MTU of the tunnel in bytes; 0 for the kernel's default."""
    found = settings.uplink_mtu(settings.place(spec)[0])
    if not found:
        return 0
    return found - (wireguard.OVERHEAD + settings.OVERHEAD + 20 if settings.is_encrypted(spec) else settings.OVERHEAD)


def ensure(record: NetworkRecord, mark: str) -> None:
    """Create missing parts of the tunnel; the network's bridge exists. Raises OperationFailed, and Unsupported for an ordinary
    user."""
    if here():
        raise Unsupported(
            f"network {record.spec.name}: the overlay driver needs root: its tunnel is a link of the host's"
        )
    if not probe.native():
        raise Unsupported(
            f"network {record.spec.name}: the overlay driver needs nf_tables, which keeps other hosts' frames out"
        )
    link, number = name(record), settings.identifier(record.spec)
    if settings.is_encrypted(record.spec):
        wireguard.ensure(record, mark)
    data = [
        ("IFLA_VXLAN_ID", number),
        ("IFLA_VXLAN_LOCAL6" if ":" in record.underlay else "IFLA_VXLAN_LOCAL", record.underlay),
        ("IFLA_VXLAN_PORT", settings.PORT),
        ("IFLA_VXLAN_LEARNING", 1),
    ]
    with Rtnetlink() as kernel:
        (failed,) = kernel.run([pyroute_requests.link([("IFLA_IFNAME", link), pyroute_requests.kind("vxlan", data)])])
        try:
            index = kernel.index(link)
        except OSError as error:
            hint = {
                errno.EOPNOTSUPP: "This kernel has no VXLAN: modprobe vxlan.",
                errno.EEXIST: f"Another link of the host has the VXLAN identifier {number}: choose one with"
                f" driver_opts.{settings.VNI}, the same on all hosts.",
            }
            raise OperationFailed("create the tunnel", link, failed, hint=hint.get(failed, "")) from error
        changes = [
            messages.alias(link, mark),
            messages.port_of(index, kernel.index(record.bridge)),
            messages.link_up(index),
        ]
        kernel.do(
            "set up the tunnel", link, [*changes, *(pyroute_requests.flood(index, peer) for peer in record.peers)]
        )


def remove(record: NetworkRecord, mark: str, others: Collection[NetworkRecord]) -> None:
    """Remove what `ensure` created; WireGuard's link is kept while one of `others` needs it."""
    with Rtnetlink() as kernel:
        kernel.do("remove link", name(record), [messages.delete_link(name(record))], accept=(errno.ENODEV,))
    if settings.is_encrypted(record.spec):
        wireguard.remove(mark, others)
