"""Driver options of macvlan and ipvlan networks; unknown ones are refused, never ignored. They are Docker's: `parent`,
`macvlan_mode`, `ipvlan_mode`, `ipvlan_flag`, and the MTU.
"""

from __future__ import annotations

from engine.errors import EngineError, InvalidSpec, Unsupported
from engine.spec import networkoptions
from engine.spec.network import LAN_DRIVERS, NetworkRecord, NetworkSpec

DHCP = "dhcp"
"""The IPAM driver that gets IPv4 addresses from the LAN's DHCP server."""


def refusal(subject: str, fault: networkoptions.Fault) -> EngineError:
    """The error for an option that is not supported, or has a wrong value."""
    if fault.known:
        return InvalidSpec(f"{subject} {fault.option}: {fault.why}")
    return Unsupported(f"{subject} {fault.option!r} {fault.why}")


def is_lan(record: NetworkRecord) -> bool:
    return record.spec.driver in LAN_DRIVERS


def check(spec: NetworkSpec) -> None:
    """Raises Unsupported and InvalidSpec."""
    where, driver = f"network {spec.name}", spec.driver
    for fault in networkoptions.faults(driver, spec.driver_opts, ipv6=spec.enable_ipv6):
        raise refusal(f"{where}: driver option", fault)
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
    return spec.driver_opts.get(networkoptions.PARENT, "")


def mode(spec: NetworkSpec) -> str:
    """One of networkoptions.LAN_MODES."""
    return spec.driver_opts.get(networkoptions.LAN_MODE[spec.driver], "") or networkoptions.LAN_MODES[spec.driver][0]


def flag(spec: NetworkSpec) -> str:
    """One of networkoptions.IPVLAN_FLAGS."""
    return spec.driver_opts.get(networkoptions.IPVLAN_FLAG, "") or networkoptions.IPVLAN_FLAGS[0]


def is_routed(spec: NetworkSpec) -> bool:
    """Whether the host routes all packets of the containers, which then have no gateway."""
    return spec.driver == "ipvlan" and mode(spec) != "l2"
