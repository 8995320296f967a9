"""rtnetlink(7) messages, for the hot path. Encoded here and not by pyroute2, whose classes take 11 ms to import and 0.2
ms per message in every `up` and for every container. A test compares each message with pyroute2's.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Sequence

from engine.net import netlink_abi as abi
from engine.net.netlink_abi import attribute

_ROUTE = struct.Struct("=8BI")  # struct rtmsg: family, two prefix lengths, TOS, table, protocol, scope, type, flags
_VETH_INFO_PEER, _IFA_F_NODAD = 1, 0x02
_RT_TABLE_MAIN, _RTPROT_KERNEL, _RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK = 254, 2, 3, 0, 253
_RT_SCOPE_HOST, _RTN_LOCAL = 254, 2
_NEWRULE, _FRA_FWMARK, _FR_ACT_TO_TBL = 32, 10, 1
_IPVLAN_MODE, _IPVLAN_FLAGS = 1, 2
_BRPORT_MODE, _BRPORT_ISOLATED = 4, 33


def bridge(name: str, mac: str, mtu: int = 0) -> bytes:
    """Create a bridge link, still down."""
    kind = attribute(abi.IFLA_LINKINFO, attribute(abi.INFO_KIND, _text("bridge")))
    attributes = (
        attribute(abi.IFLA_IFNAME, _text(name)) + attribute(abi.IFLA_ADDRESS, _hardware(mac)) + kind + _mtu(mtu)
    )
    return _link(abi.NEWLINK, abi.CREATE | abi.EXCLUSIVE, attributes)


def veth(name: str, master: int, peer: str, netns: int, mac: str, mtu: int = 0) -> bytes:
    """Create a veth pair: `name` here, up and a port of the bridge with index `master`; `peer`, with the hardware
    address `mac` and still down (it cannot be up before the pair is complete), in the network namespace open at
    `netns`.

    A pair needs one queue. By default the kernel would create one for each processor, with its entries in sysfs.
    """
    far = attribute(abi.IFLA_IFNAME, _text(peer)) + attribute(abi.IFLA_ADDRESS, _hardware(mac))
    far += attribute(abi.IFLA_NET_NS_FD, _number(netns)) + _mtu(mtu) + _ONE_QUEUE
    data = attribute(_VETH_INFO_PEER, abi.LINK.pack(0, 0, 0, 0, 0) + far)
    information = _VETH + attribute(abi.INFO_DATA, data)
    near = attribute(abi.IFLA_IFNAME, _text(name)) + attribute(abi.IFLA_MASTER, _number(master)) + _mtu(mtu)
    near += _ONE_QUEUE
    return _link(abi.NEWLINK, abi.CREATE | abi.EXCLUSIVE, near + attribute(abi.IFLA_LINKINFO, information), up=True)


def ipvlan(name: str, parent: int, netns: int, mode: int, bits: int, mtu: int = 0) -> bytes:
    """Create an ipvlan link on the link with index `parent`, in the network namespace open at `netns`. pyroute2 omits
    the flags (IFLA_IPVLAN_FLAGS): `bits` of IPVLAN_F_PRIVATE and IPVLAN_F_VEPA."""
    data = attribute(_IPVLAN_MODE, struct.pack("=H", mode)) + attribute(_IPVLAN_FLAGS, struct.pack("=H", bits))
    kind = attribute(abi.INFO_KIND, _text("ipvlan")) + attribute(abi.INFO_DATA, data)
    attributes = attribute(abi.IFLA_IFNAME, _text(name)) + attribute(abi.IFLA_LINK, _number(parent))
    attributes += attribute(abi.IFLA_NET_NS_FD, _number(netns)) + _mtu(mtu) + attribute(abi.IFLA_LINKINFO, kind)
    return _link(abi.NEWLINK, abi.CREATE | abi.EXCLUSIVE, attributes)


def alias(name: str, text: str) -> bytes:
    """Set the link's ifalias (ip-link(8)), which describes its purpose to other programs."""
    return _link(abi.NEWLINK, 0, attribute(abi.IFLA_IFNAME, _text(name)) + attribute(abi.IFLA_IFALIAS, _text(text)))


def alternative_name(kind: int, index: int, name: str) -> bytes:
    """Add or remove an alternative name of up to 127 characters (ip-link(8), altname); `kind` is NEWLINKPROP or
    DELLINKPROP."""
    return _link(
        kind, 0, attribute(abi.IFLA_PROP_LIST | abi.NESTED, attribute(abi.IFLA_ALT_IFNAME, _text(name))), index=index
    )


def delete_link(name: str) -> bytes:
    return _link(abi.DELLINK, 0, attribute(abi.IFLA_IFNAME, _text(name)))


def into_group(name: str, group: int) -> bytes:
    """Put the link into a group (ip-link(8), group)."""
    return _link(abi.NEWLINK, 0, attribute(abi.IFLA_IFNAME, _text(name)) + attribute(abi.IFLA_GROUP, _number(group)))


def delete_group(group: int) -> bytes:
    """Remove all links of the group at once."""
    return _link(abi.DELLINK, 0, attribute(abi.IFLA_GROUP, _number(group)))


def delete_together(names: Sequence[str]) -> list[bytes]:
    """Remove all these links at once, which takes the kernel little longer than one."""
    group = int.from_bytes(os.urandom(4), "big") | 1  # not 0, the group of every link that is in none
    return [*(into_group(name, group) for name in names), delete_group(group)]


def mtu(index: int, size: int) -> bytes:
    """Set the link's MTU, in bytes."""
    return _link(abi.NEWLINK, 0, _mtu(size), index=index)


def port_of(index: int, master: int) -> bytes:
    """Make the link a port of the bridge with the index `master`."""
    return _link(abi.NEWLINK, 0, attribute(abi.IFLA_MASTER, _number(master)), index=index)


def link_up(index: int) -> bytes:
    return _link(abi.NEWLINK, 0, b"", index=index, up=True)


def hardware_address(index: int, mac: str) -> bytes:
    """Set a link's hardware address to its current value: with arp_notify and ndisc_notify it then announces its
    addresses."""
    return _link(abi.NEWLINK, 0, attribute(abi.IFLA_ADDRESS, _hardware(mac)), index=index)


def bridge_port(name: str, *, isolated: bool) -> bytes:
    """Let this bridge port send frames back to their source (ip-link(8), hairpin on): with br_netfilter, a container's
    connection to its own published port turns round in the bridge. `isolated` prevents traffic to the bridge's other
    isolated ports."""
    ports = attribute(_BRPORT_MODE, b"\1") + (attribute(_BRPORT_ISOLATED, b"\1") if isolated else b"")
    information = attribute(abi.INFO_SLAVE_KIND, _text("bridge")) + attribute(abi.INFO_SLAVE_DATA, ports)
    return _link(abi.NEWLINK, 0, attribute(abi.IFLA_IFNAME, _text(name)) + attribute(abi.IFLA_LINKINFO, information))


def address(index: int, ip: str, prefix: int, broadcast: str = "") -> bytes:
    """Add an address to the link; IPv6 without duplicate address detection, which would delay its use by a second."""
    packed = _packed(ip)
    attributes = attribute(abi.IFA_ADDRESS, packed) + attribute(abi.IFA_LOCAL, packed)
    if broadcast and ":" not in ip:
        attributes += attribute(abi.IFA_BROADCAST, _packed(broadcast))
    body = abi.ADDRESS.pack(_family(ip), prefix, _IFA_F_NODAD if ":" in ip else 0, 0, index)
    return _message(abi.NEWADDR, abi.CREATE | abi.REPLACE, body + attributes)


def delete_address(index: int, ip: str, prefix: int) -> bytes:
    packed = _packed(ip)
    body = abi.ADDRESS.pack(_family(ip), prefix, 0, 0, index)
    return _message(abi.DELADDR, 0, body + attribute(abi.IFA_LOCAL, packed) + attribute(abi.IFA_ADDRESS, packed))


def default_route(gateway: str, index: int) -> bytes:
    """Set or replace the default route of the address's family. An unspecified gateway, 0.0.0.0 or ::, means that all
    destinations are on the link."""
    alone = not any(_packed(gateway))
    kind = (_RT_TABLE_MAIN, _RTPROT_BOOT, _RT_SCOPE_LINK if alone else _RT_SCOPE_UNIVERSE, abi.RTN_UNICAST)
    body = _ROUTE.pack(_family(gateway), 0, 0, 0, *kind, 0)
    attributes = b"" if alone else attribute(abi.RTA_GATEWAY, _packed(gateway))
    attributes += attribute(abi.RTA_OIF, _number(index))
    return _message(abi.NEWROUTE, abi.CREATE | abi.REPLACE, body + attributes)


def subnet_route(subnet: str, index: int, source: str) -> bytes:
    """The route that the kernel adds with a link's address, `source`. Fails with EEXIST if there is one."""
    address, _, prefix = subnet.partition("/")
    v6 = ":" in address
    scope = _RT_SCOPE_UNIVERSE if v6 else _RT_SCOPE_LINK
    body = _ROUTE.pack(_family(address), int(prefix), 0, 0, _RT_TABLE_MAIN, _RTPROT_KERNEL, scope, abi.RTN_UNICAST, 0)
    attributes = attribute(abi.RTA_DST, _packed(address)) + attribute(abi.RTA_OIF, _number(index))
    attributes += attribute(abi.RTA_PRIORITY, _number(256)) if v6 else attribute(abi.RTA_PREFSRC, _packed(source))
    return _message(abi.NEWROUTE, abi.CREATE | abi.EXCLUSIVE, body + attributes)


def host_route(kind: int, bits: int, address: str, index: int) -> bytes:
    """A route to one address on the link; `kind` is NEWROUTE or DELROUTE."""
    packed = _packed(address)
    body = _ROUTE.pack(
        _family(address), len(packed) * 8, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, _RT_SCOPE_LINK, abi.RTN_UNICAST, 0
    )
    return _message(kind, bits, body + attribute(abi.RTA_DST, packed) + attribute(abi.RTA_OIF, _number(index)))


def marked(version: int, mark: int, table: int) -> bytes:
    """Route packets with this mark by the table (ip-rule(8), fwmark). Fails with EEXIST if it is so."""
    body = _ROUTE.pack(abi.FAMILIES[version], 0, 0, 0, table, 0, 0, _FR_ACT_TO_TBL, 0)
    return _message(_NEWRULE, abi.CREATE | abi.EXCLUSIVE, body + attribute(_FRA_FWMARK, _number(mark)))


def all_local(version: int, table: int, index: int) -> bytes:
    """In the table, deliver all packets to this host, through the link `index`, which is lo."""
    body = _ROUTE.pack(abi.FAMILIES[version], 0, 0, 0, table, _RTPROT_BOOT, _RT_SCOPE_HOST, _RTN_LOCAL, 0)
    return _message(abi.NEWROUTE, abi.CREATE | abi.REPLACE, body + attribute(abi.RTA_OIF, _number(index)))


def _link(kind: int, bits: int, attributes: bytes, *, index: int = 0, up: bool = False) -> bytes:
    state = abi.IFF_UP if up else 0
    return _message(kind, bits, abi.LINK.pack(0, 0, index, state, state) + attributes)


def _message(kind: int, bits: int, body: bytes) -> bytes:
    return abi.HEADER.pack(abi.HEADER.size + len(body), kind, abi.REQUEST | abi.ACK | bits, 0, 0) + body


def _text(text: str) -> bytes:
    return text.encode() + b"\0"


def _number(number: int) -> bytes:
    return struct.pack("=I", number)


def _mtu(mtu: int) -> bytes:
    return attribute(abi.IFLA_MTU, _number(mtu)) if mtu else b""


def _hardware(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _packed(ip: str) -> bytes:
    # unlike ipaddress, inet_pton rejects scopes ("fe80::1%eth0"), and takes a twentieth of the time
    return ipaddress.ip_address(ip).packed if ":" in ip else socket.inet_pton(socket.AF_INET, ip)


def _family(ip: str) -> int:
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


_VETH = attribute(abi.INFO_KIND, _text("veth"))
_ONE_QUEUE = attribute(abi.IFLA_NUM_TX_QUEUES, _number(1)) + attribute(abi.IFLA_NUM_RX_QUEUES, _number(1))
