"""Driver options of bridge networks and of their endpoints; unknown ones are refused, never ignored."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection

from engine.errors import InvalidSpec, Unsupported
from engine.net import mtu as mtus
from engine.net.lan import settings as lan
from engine.net.overlay import settings as overlay
from engine.spec.container import Attachment
from engine.spec.network import LAN_DRIVERS, OVERLAY, NetworkRecord, NetworkSpec

NAME = "com.docker.network.bridge.name"
HOST_BINDING = {4: "com.docker.network.bridge.host_binding_ipv4", 6: "com.docker.network.bridge.host_binding_ipv6"}
"""The host address of ports published without one."""
INTERFACE_PREFIX = "com.docker.network.container_iface_prefix"
ICC = "com.docker.network.bridge.enable_icc"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
SOURCE = {4: "com.docker.network.host_ipv4", 6: "com.docker.network.host_ipv6"}
"""The host address used for containers' outgoing packets, in place of the outgoing link's."""
TRUSTED = "com.docker.network.bridge.trusted_host_interfaces"
"""Links, separated by colons, from which containers are reachable at their own addresses."""
GATEWAY_MODE = {4: "com.docker.network.bridge.gateway_mode_ipv4", 6: "com.docker.network.bridge.gateway_mode_ipv6"}
GATEWAY_MODES = ("nat", "nat-unprotected", "routed", "isolated")
ENABLE_IPV6 = "com.docker.network.enable_ipv6"
ADVERTISE = ("com.docker.network.advertise_addr_nmsgs", "com.docker.network.advertise_addr_ms")
"""How many times, and at what interval in milliseconds, a new container announces its hardware address."""
INHIBIT = "com.docker.network.bridge.inhibit_ipv4"
"""The bridge has no IPv4 address."""

ENDPOINT_INTERFACE = "com.docker.network.endpoint.ifname"
ENDPOINT_SYSCTLS = "com.docker.network.endpoint.sysctls"


def _is_boolean(text: str) -> bool:
    return text.lower() in ("true", "false", "1", "0", "t", "f")


def _is_link_name(text: str) -> bool:
    """dev_valid_name() of the kernel: at most 15 bytes, no slash, colon or space."""
    return bool(re.fullmatch(r"[^/:\s]{1,15}", text)) and len(text.encode()) <= 15 and text not in (".", "..")


def _is_address(version: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version == version
        except ValueError:
            return False

    return check


_KNOWN: dict[str, tuple[Callable[[str], bool], str]] = {
    NAME: (_is_link_name, "a link's name of at most 15 characters"),
    INTERFACE_PREFIX: (lambda text: _is_link_name(text + "00"), "the beginning of a link's name"),
    **dict.fromkeys(mtus.OPTIONS, (mtus.is_valid, mtus.MEANING)),
    ICC: (_is_boolean, "true or false"),
    MASQUERADE: (_is_boolean, "true or false"),
    **dict.fromkeys(GATEWAY_MODE.values(), (GATEWAY_MODES.__contains__, "one of " + ", ".join(GATEWAY_MODES))),
    TRUSTED: (lambda text: all(_is_link_name(part.strip()) for part in text.split(":")), "names of links, A:B"),
    INHIBIT: (_is_boolean, "true or false"),
    ENABLE_IPV6: (_is_boolean, "true or false"),
    ADVERTISE[0]: (lambda text: text.isdecimal() and int(text) <= 3, "a number from 0 to 3"),
    ADVERTISE[1]: (lambda text: text.isdecimal() and 100 <= int(text) <= 2000, "milliseconds from 100 to 2000"),
    **{option: (_is_address(version), f"an IPv{version} address") for version, option in HOST_BINDING.items()},
    **{option: (_is_address(version), f"an IPv{version} address") for version, option in SOURCE.items()},
}


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
    for option, value in sorted(spec.driver_opts.items()):
        if option not in _KNOWN:
            raise Unsupported(f"{where}: driver option {option!r} is not supported by the bridge driver")
        fits, meaning = _KNOWN[option]
        if not fits(value):
            raise InvalidSpec(f"{where}: driver option {option}: {value!r} is not {meaning}")
    for option in GATEWAY_MODE.values():
        if spec.driver_opts.get(option) == "isolated" and not spec.internal:
            raise InvalidSpec(f"{where}: driver option {option}: 'isolated' is only valid for internal networks")


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
    found = mtus.asked(record.spec.driver_opts)
    return record.mtu if found is None else found


def asked_interface(attachment: Attachment) -> str:
    """The link name requested by the attachment, "" for none."""
    return attachment.interface_name or attachment.driver_opts.get(ENDPOINT_INTERFACE, "")


def interface(record: NetworkRecord, attachment: Attachment, taken: Collection[str]) -> str:
    """The link's name in the container: the requested or the first free one. Raises InvalidSpec."""
    prefix = record.spec.driver_opts.get(INTERFACE_PREFIX, "eth")
    name = asked_interface(attachment) or next(f"{prefix}{i}" for i in range(256) if f"{prefix}{i}" not in taken)
    if not _is_link_name(name) or name == "lo":
        raise InvalidSpec(f"network {record.spec.name}: {name!r} is not a valid interface name")
    if name in taken:
        raise InvalidSpec(f"network {record.spec.name}: another network of the container has the interface {name!r}")
    return name


def sysctls(attachment: Attachment, name: str) -> list[tuple[str, str]]:
    """(path below /proc/sys/net, value) of the endpoint, IFNAME in them standing for its link, here `name`.

    Raises Unsupported for other options, InvalidSpec for a sysctl that does not belong to the link.
    """
    where = f"network {attachment.network}"
    for option in sorted(attachment.driver_opts):
        # Docker's bridge driver ignores other unknown names, and so do we.
        if option.startswith("com.docker.network.") and option not in (ENDPOINT_INTERFACE, ENDPOINT_SYSCTLS):
            raise Unsupported(f"{where}: endpoint option {option!r} is not supported")
    found = []
    for entry in filter(None, attachment.driver_opts.get(ENDPOINT_SYSCTLS, "").split(",")):
        key, _, value = entry.strip().partition("=")
        parts = re.fullmatch(r"net\.(ipv4|ipv6|mpls)\.(conf|neigh)\.IFNAME\.([a-z0-9_]+)", key)
        if not parts or not value:
            raise InvalidSpec(f"{where}: {entry!r} is not net.<ipv4|ipv6>.<conf|neigh>.IFNAME.<name>=<value>")
        found.append((f"{parts[1]}/{parts[2]}/{name}/{parts[3]}", value))
    return found
