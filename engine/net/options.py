"""Driver options of bridge networks and of their endpoints; unknown ones are refused, never ignored."""

from __future__ import annotations

from collections.abc import Collection

from engine.errors import InvalidSpec, Unsupported
from engine.net.lan import settings as lan
from engine.net.overlay import settings as overlay
from engine.spec import networkoptions
from engine.spec.container import Attachment
from engine.spec.network import LAN_DRIVERS, OVERLAY, NetworkRecord, NetworkSpec
from engine.spec.networkoptions import ADVERTISE, ENDPOINT_INTERFACE, GATEWAY_MODE, INHIBIT, INTERFACE_PREFIX


def check(spec: NetworkSpec) -> None:
    """Raises Unsupported and InvalidSpec for settings that the driver does not support."""
    where = f"network {spec.name}"
    if spec.driver not in ("", "bridge", "default", OVERLAY, *LAN_DRIVERS):
        hint = "Supported: bridge, overlay, macvlan, ipvlan (host and none as network_mode)."
        raise Unsupported(f"{where}: driver {spec.driver!r} is not supported", hint=hint)
    if spec.ipam_driver not in ("", "default", *((lan.DHCP,) if spec.driver in LAN_DRIVERS else ())):
        hint = "dhcp is for macvlan networks." if spec.ipam_driver == lan.DHCP else ""
        raise Unsupported(f"{where}: IPAM driver {spec.ipam_driver!r} is not supported", hint=hint)
    if spec.ipam_options:
        raise Unsupported(f"{where}: the default IPAM driver has no option {min(spec.ipam_options)!r}")
    if not spec.enable_ipv4 and not spec.enable_ipv6:
        raise InvalidSpec(f"{where}: neither IPv4 nor IPv6 is enabled")
    if spec.driver in LAN_DRIVERS:
        lan.check(spec)
        return
    if spec.host_access:
        raise Unsupported(
            f"{where}: x-host-access is only for macvlan networks; the host always reaches bridge networks"
        )
    if spec.driver == OVERLAY:
        overlay.check(spec)
        return
    found = networkoptions.faults("bridge", spec.driver_opts, internal=spec.internal, ipv6=spec.enable_ipv6)
    for fault in found:
        raise lan.refusal(f"{where}: driver option", fault)


def is_true(record: NetworkRecord, option: str, default: str = "true") -> bool:
    """The value of a boolean driver option, or `default`."""
    return record.spec.driver_opts.get(option, default).lower() in ("true", "1", "t")


def gateway_mode(record: NetworkRecord, version: int) -> str:
    """One of GATEWAY_MODES."""
    return record.spec.driver_opts.get(GATEWAY_MODE[version], "") or "nat"


def has_address(record: NetworkRecord, version: int) -> bool:
    """Whether the bridge has an address of this IP version."""
    inhibited = version == 4 and is_true(record, INHIBIT, "false")
    return not inhibited and gateway_mode(record, version) != "isolated"


def announcements(record: NetworkRecord) -> tuple[int, float]:
    """How many times, and at what interval in seconds, a new container announces its hardware address."""
    count, milliseconds = (record.spec.driver_opts.get(option, "") for option in ADVERTISE)
    return int(count or (3 if milliseconds else 0)), int(milliseconds or 100) / 1000


def mtu(record: NetworkRecord) -> int:
    """Bytes; 0 for the kernel's choice."""
    found = networkoptions.mtu(record.spec.driver_opts)
    return record.mtu if found is None else found


def requested_interface(attachment: Attachment) -> str:
    """The link name requested by the attachment, "" for none."""
    return attachment.interface_name or attachment.driver_opts.get(ENDPOINT_INTERFACE, "")


def interface(record: NetworkRecord, attachment: Attachment, taken: Collection[str]) -> str:
    """The link's name in the container: the requested or the first free one. Raises InvalidSpec."""
    prefix = record.spec.driver_opts.get(INTERFACE_PREFIX, "eth")
    name = requested_interface(attachment) or next(f"{prefix}{i}" for i in range(256) if f"{prefix}{i}" not in taken)
    if not networkoptions.is_interface(name):
        raise InvalidSpec(f"network {record.spec.name}: {name!r} is not a valid interface name")
    if name in taken:
        raise InvalidSpec(f"network {record.spec.name}: another network of the container has the interface {name!r}")
    return name


def sysctls(attachment: Attachment, name: str) -> list[tuple[str, str]]:
    """(path below /proc/sys/net, value) of the endpoint, IFNAME in them standing for its link, here `name`. Raises
    InvalidSpec for options that are not supported, or a sysctl that does not belong to the link."""
    for fault in networkoptions.endpoint_faults(attachment.driver_opts):
        raise lan.refusal(f"network {attachment.network}: endpoint option", fault)
    return networkoptions.endpoint_sysctls(attachment.driver_opts, name)
