"""Links of macvlan and ipvlan networks, mostly encoded by pyroute2.

parent "eth0"     belongs to the host, and stays unchanged
parent "eth0.50"  is created as an 802.1q sub-interface of eth0 if missing, and removed with the last network on it
no parent         one end of an otherwise unused veth pair: the containers' links reach only each other
x-host-access     a macvlan link for the host, without an address, for packets to the containers, because a parent never
                  reaches the macvlan links on it; it answers for the host's own addresses
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable
from typing import Any

from engine.errors import InvalidSpec, NotFound, OperationFailed, Unsupported
from engine.net import messages, pyroute_requests
from engine.net import netlink_abi as abi
from engine.net.endpoint import Plan
from engine.net.lan import settings
from engine.net.rtnetlink import Rtnetlink
from engine.rootless.client import here
from engine.spec import networkoptions
from engine.spec.network import NetworkRecord, NetworkSpec

_FLAG_BITS = {"bridge": 0, "private": 1, "vepa": 2}  # IPVLAN_F_PRIVATE, IPVLAN_F_VEPA
_VLANS = range(1, 4095)


def ensure(record: NetworkRecord, mark: str) -> None:
    """Create missing parts of the parent and of the host's own link; `mark` is the alias of our links. Raises
    InvalidSpec if the parent does not exist on the host."""
    spec = record.spec
    if here():
        raise Unsupported(
            f"network {spec.name}: the {spec.driver} driver needs root: the parent is a link of the host's"
        )
    name = settings.parent(spec)
    with Rtnetlink() as kernel:
        if not name:
            far = {"attrs": [("IFLA_IFNAME", _far(record))]}
            _own(
                kernel,
                record,
                pyroute_requests.link(
                    [("IFLA_IFNAME", record.bridge), pyroute_requests.kind("veth", [("VETH_INFO_PEER", far)])]
                ),
                mark,
            )
            kernel.do("set up link", _far(record), [messages.link_up(_index(kernel, _far(record)))])
            return
        if _index(kernel, name) == 0:
            _subinterface(kernel, spec, name, mark)
        if spec.host_access:
            data = [("IFLA_MACVLAN_MODE", "bridge")]
            link = [("IFLA_IFNAME", record.bridge), ("IFLA_LINK", _index(kernel, name))]
            _own(kernel, record, pyroute_requests.link([*link, pyroute_requests.kind("macvlan", data)]), mark)


def remove(record: NetworkRecord, mark: str, others: Collection[NetworkRecord]) -> None:
    """Remove what `ensure` created; a sub-interface that one of `others` uses is handed over to it."""
    name = settings.parent(record.spec)
    with Rtnetlink() as kernel:
        ours = {link.name for link in kernel.links() if link.alias == mark}
        for link in ours:
            heir = next((one for one in others if settings.is_lan(one) and settings.parent(one.spec) == link), None)
            if heir is not None and link == name:
                passed_on = mark.rpartition(":")[0] + f":{heir.id[:12]}"
                kernel.do("mark", link, [messages.alias(link, passed_on)], accept=(errno.ENODEV,))
            else:
                kernel.do("remove link", link, [messages.delete_link(link)], accept=(errno.ENODEV,))


def link(kernel: Rtnetlink, plan: Plan, space: int) -> bytes:
    """The message that makes the container's link in the network namespace open at `space`. Raises NotFound."""
    spec, end = plan.record.spec, plan.endpoint
    parent = settings.parent(spec) or plan.record.bridge
    index = _index(kernel, parent)
    if not index:
        raise NotFound("link", parent, hint=f"Network {spec.name} has it as its parent.")
    size = networkoptions.mtu(spec.driver_opts) or 0
    if spec.driver == "ipvlan":
        mode = networkoptions.LAN_MODES["ipvlan"].index(settings.mode(spec))
        return messages.ipvlan(end.interface, index, space, mode, _FLAG_BITS[settings.flag(spec)], size)
    found: list[tuple[str, Any]] = [("IFLA_IFNAME", end.interface), ("IFLA_LINK", index), ("IFLA_NET_NS_FD", space)]
    if size:
        found.append(("IFLA_MTU", size))
    if settings.mode(spec) != "passthru" or plan.attachment.mac_address:
        found.append(("IFLA_ADDRESS", end.mac_address))
    return pyroute_requests.link(
        [*found, pyroute_requests.kind("macvlan", [("IFLA_MACVLAN_MODE", settings.mode(spec))])]
    )


def failure(plan: Plan, number: int) -> OperationFailed:
    """The error for an errno that the kernel returned for `link`."""
    spec = plan.record.spec
    parent = settings.parent(spec) or plan.record.bridge
    hints = {
        errno.EOPNOTSUPP: f"This kernel has no {spec.driver}: modprobe {spec.driver}.",
        errno.EBUSY: f"Another kind of link is on {parent}: one parent has macvlan or ipvlan links, not both.",
        errno.EINVAL: f"{parent} cannot be the parent of such a link, or has one in passthru mode, which allows no other.",
        errno.EADDRINUSE: f"A link on {parent} has the hardware address {plan.endpoint.mac_address} already.",
    }
    subject = f"{plan.endpoint.interface} on {parent}"
    return OperationFailed(f"create the {spec.driver} link", subject, number, hint=hints.get(number, ""))


def show(record: NetworkRecord, addresses: Iterable[str]) -> None:
    """Route the host's packets for the addresses through its own link on the LAN."""
    _change_routes(record, addresses, abi.NEWROUTE, abi.CREATE | abi.REPLACE)


def hide(record: NetworkRecord, addresses: Iterable[str]) -> None:
    """Remove the routes of `show`."""
    _change_routes(record, addresses, abi.DELROUTE, 0)


def _change_routes(record: NetworkRecord, addresses: Iterable[str], kind: int, bits: int) -> None:
    with Rtnetlink() as kernel:
        if index := _index(kernel, record.bridge):
            changes = [messages.host_route(kind, bits, address, index) for address in addresses]
            kernel.do("route to containers by", record.bridge, changes, accept=(errno.ESRCH,))


def _own(kernel: Rtnetlink, record: NetworkRecord, made: bytes, mark: str) -> None:
    """Create a link for the network, mark it as ours, and bring it up."""
    kernel.do("make link", record.bridge, [made], accept=(errno.EEXIST,))
    index = _index(kernel, record.bridge)
    with_mark = [messages.alias(record.bridge, mark), messages.link_up(index)]
    kernel.do("set up link", record.bridge, with_mark)


def _subinterface(kernel: Rtnetlink, spec: NetworkSpec, name: str, mark: str) -> None:
    below, _, number = name.rpartition(".")
    where = f"network {spec.name}: driver option parent"
    index = _index(kernel, below) if below else 0
    if not index:
        raise InvalidSpec(f"{where}: the host has no link {name}", hint="`ip link` lists its links.")
    if not (number.isdecimal() and int(number) in _VLANS):
        raise InvalidSpec(f"{where}: {name} is not a sub-interface of {below}: VLAN ids range from 1 to 4094")
    data = [("IFLA_VLAN_ID", int(number))]
    made = pyroute_requests.link([("IFLA_IFNAME", name), ("IFLA_LINK", index), pyroute_requests.kind("vlan", data)])
    (failed,) = kernel.run([made])
    if failed and failed != errno.EEXIST:
        hint = "This kernel has no VLANs: modprobe 8021q." if failed == errno.EOPNOTSUPP else ""
        raise OperationFailed("create the sub-interface", name, failed, hint=hint)
    up = [messages.alias(name, mark), messages.link_up(_index(kernel, name))]
    kernel.do("set up link", name, up)


def _index(kernel: Rtnetlink, name: str) -> int:
    try:
        return kernel.index(name)
    except OSError:
        return 0


def _far(record: NetworkRecord) -> str:
    """The name of the pair's other end, without which links on the pair would have no carrier."""
    return f"cmo-{record.id[:11]}"
