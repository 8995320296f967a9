"""Driver options of macvlan and ipvlan networks; unknown ones are refused, never ignored. They are Docker's: `parent`,
`macvlan_mode`, `ipvlan_mode`, `ipvlan_flag`, and the MTU.
"""

from __future__ import annotations

from engine.errors import InvalidSpec, Unsupported
from engine.net import mtu
from engine.spec.network import LAN_DRIVERS, NetworkRecord, NetworkSpec

DHCP = "dhcp"
"""The IPAM driver that gets IPv4 addresses from the LAN's DHCP server."""
PARENT = "parent"
MODE = {"macvlan": "macvlan_mode", "ipvlan": "ipvlan_mode"}
MODES = {"macvlan": ("bridge", "private", "vepa", "passthru"), "ipvlan": ("l2", "l3", "l3s")}
"""Option → allowed values; the first is the default."""
FLAG = "ipvlan_flag"
FLAGS = ("bridge", "private", "vepa")


def is_lan(record: NetworkRecord) -> bool:
    return record.spec.driver in LAN_DRIVERS


def check(spec: NetworkSpec) -> None:
    """Raises Unsupported and InvalidSpec."""
    where, driver = f"network {spec.name}", spec.driver
    known = {MODE[driver]: MODES[driver], **({FLAG: FLAGS} if driver == "ipvlan" else {})}
    for option, value in sorted(spec.driver_opts.items()):
        if option in known and value not in known[option]:
            raise InvalidSpec(f"{where}: driver option {option}: {value!r} is not one of {', '.join(known[option])}")
        if option in mtu.OPTIONS:
            mtu.check(where, option, value)
        if option not in (PARENT, *known, *mtu.OPTIONS):
            raise Unsupported(
                f"{where}: driver option {option!r} is not supported by the {driver} driver",
                hint=f"Supported: {', '.join((PARENT, *known, mtu.OPTIONS[0]))}.",
            )
    if spec.host_access and not parent(spec):
        raise InvalidSpec(f"{where}: x-host-access needs a parent link, driver_opts.parent")
    if spec.host_access and spec.driver != "macvlan":
        raise Unsupported(f"{where}: x-host-access is not supported by the {driver} driver", hint="Use macvlan.")
    if spec.ipam_driver == DHCP:
        _check_dhcp(spec, where)


def _check_dhcp(spec: NetworkSpec, where: str) -> None:
    if spec.driver != "macvlan":
        why = "all containers have the parent link's hardware address, by which a DHCP server knows its clients"
        raise Unsupported(f"{where}: IPAM driver dhcp is not supported by the ipvlan driver: {why}")
    if not parent(spec):
        raise InvalidSpec(f"{where}: IPAM driver dhcp needs a parent link, driver_opts.parent")
    if mode(spec) == "passthru":
        raise Unsupported(
            f"{where}: IPAM driver dhcp is not supported in the macvlan_mode passthru", hint="Use bridge."
        )
    if any(":" not in pool.subnet for pool in spec.pools):
        raise InvalidSpec(f"{where}: IPAM driver dhcp gets the IPv4 subnet from the LAN's server: leave it out")


def parent(spec: NetworkSpec) -> str:
    """The host's link that the containers' links are on; "" for an isolated LAN."""
    return spec.driver_opts.get(PARENT, "")


def mode(spec: NetworkSpec) -> str:
    """One of MODES."""
    return spec.driver_opts.get(MODE[spec.driver], "") or MODES[spec.driver][0]


def flag(spec: NetworkSpec) -> str:
    """One of FLAGS."""
    return spec.driver_opts.get(FLAG, "") or FLAGS[0]


def is_routed(spec: NetworkSpec) -> bool:
    """Whether the host routes all packets of the containers, which then have no gateway."""
    return spec.driver == "ipvlan" and mode(spec) != "l2"
