"""Driver options of networks and of a container's endpoints on them: names, and what their values must be (Docker Engine 28:
bridge, macvlan and ipvlan drivers). Unknown ones are refused, never ignored. The checks return faults, so that
the position in a compose file can be added."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

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
MTU = ("com.docker.network.driver.mtu", "mtu")
"""The options for the MTU, of all drivers."""
MTUS = range(68, 65536)
"""Valid sizes in bytes: IPv4 needs 68 (RFC 791), and the kernel's limit is 65535."""
_LEAST_IPV6 = 1280
"""The least MTU of a link with IPv6 (RFC 8200)."""

PARENT = "parent"
LAN_MODE = {"macvlan": "macvlan_mode", "ipvlan": "ipvlan_mode"}
LAN_MODES = {"macvlan": ("bridge", "private", "vepa", "passthru"), "ipvlan": ("l2", "l3", "l3s")}
"""Option → allowed values; the first is the default."""
IPVLAN_FLAG, IPVLAN_FLAGS = "ipvlan_flag", ("bridge", "private", "vepa")

ENDPOINT_INTERFACE = "com.docker.network.endpoint.ifname"
ENDPOINT_SYSCTLS = "com.docker.network.endpoint.sysctls"


class Fault(Struct, frozen=True):
    """What is wrong with an option; `known`: with its value."""

    option: str
    why: str
    known: bool = True


Faults = Iterator[Fault]


def _is_boolean(text: str) -> bool:
    return text.lower() in ("true", "false", "1", "0", "t", "f")


def is_link_name(text: str) -> bool:
    """dev_valid_name() of the kernel: at most 15 bytes, no slash, colon or space."""
    return bool(re.fullmatch(r"[^/:\s]{1,15}", text)) and len(text.encode()) <= 15 and text not in (".", "..")


def _is_address(version: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version == version
        except ValueError:
            return False

    return check


def _is_mtu(value: str) -> bool:
    return value.isascii() and value.isdecimal() and len(value) < 10 and (int(value) == 0 or int(value) in MTUS)


_Check = tuple[Callable[[str], bool], str]
_MTU_CHECK: dict[str, _Check] = dict.fromkeys(
    MTU, (_is_mtu, "a number of bytes from 68 to 65535, or 0 for the default")
)
_BRIDGE: dict[str, _Check] = {
    NAME: (is_link_name, "a link's name of at most 15 characters"),
    INTERFACE_PREFIX: (lambda text: is_link_name(text + "00"), "the beginning of a link's name"),
    **_MTU_CHECK,
    ICC: (_is_boolean, "true or false"),
    MASQUERADE: (_is_boolean, "true or false"),
    **dict.fromkeys(GATEWAY_MODE.values(), (GATEWAY_MODES.__contains__, "one of " + ", ".join(GATEWAY_MODES))),
    TRUSTED: (lambda text: all(is_link_name(part.strip()) for part in text.split(":")), "names of links, A:B"),
    INHIBIT: (_is_boolean, "true or false"),
    ENABLE_IPV6: (_is_boolean, "true or false"),
    ADVERTISE[0]: (lambda text: text.isdecimal() and int(text) <= 3, "a number from 0 to 3"),
    ADVERTISE[1]: (lambda text: text.isdecimal() and 100 <= int(text) <= 2000, "milliseconds from 100 to 2000"),
    **{option: (_is_address(version), f"an IPv{version} address") for version, option in HOST_BINDING.items()},
    **{option: (_is_address(version), f"an IPv{version} address") for version, option in SOURCE.items()},
}


def _lan(driver: str) -> dict[str, _Check]:
    modes = LAN_MODES[driver]
    flags: dict[str, _Check] = {IPVLAN_FLAG: (IPVLAN_FLAGS.__contains__, f"one of {', '.join(IPVLAN_FLAGS)}")}
    return {
        PARENT: (lambda text: True, ""),
        LAN_MODE[driver]: (modes.__contains__, f"one of {', '.join(modes)}"),
        **(flags if driver == "ipvlan" else {}),
        **_MTU_CHECK,
    }


def faults(driver: str, options: Mapping[str, str], *, internal: bool = False, ipv6: bool = False) -> Faults:
    """What is wrong with the options of a bridge, macvlan or ipvlan network."""
    known = _lan(driver) if driver in LAN_MODES else _BRIDGE
    for option, value in sorted(options.items()):
        if option not in known:
            hint = f"; supported: {', '.join(key for key in known if key != MTU[1])}" if driver in LAN_MODES else ""
            yield Fault(option, f"is not supported by the {driver} driver{hint}", known=False)
        elif not known[option][0](value):
            yield Fault(option, f"{value!r} is not {known[option][1]}")
        elif option in MTU and ipv6 and 0 < int(value) < _LEAST_IPV6:
            yield Fault(option, f"{value} is too small for IPv6, which needs at least {_LEAST_IPV6}")
        elif option in GATEWAY_MODE.values() and value == "isolated" and not internal:
            yield Fault(option, "'isolated' is only valid for internal networks")


def mtu_fault(value: str) -> str:
    """What is wrong with the value of an MTU option, "" if nothing."""
    fits, meaning = _MTU_CHECK[MTU[0]]
    return "" if fits(value) else f"{value!r} is not {meaning}"


def mtu(options: Mapping[str, str]) -> int | None:
    """The MTU in bytes, 0 for the kernel's default; None if no option is set."""
    return next((int(options[option]) for option in MTU if option in options), None)


def is_interface(name: str) -> bool:
    """Whether a container's link can have this name."""
    return is_link_name(name) and name != "lo"


def endpoint_faults(options: Mapping[str, str]) -> Faults:
    """What is wrong with the options of an endpoint. Docker's bridge driver ignores names that are not Docker's, and so do
    we."""
    for option, value in sorted(options.items()):
        if option.startswith("com.docker.network.") and option not in (ENDPOINT_INTERFACE, ENDPOINT_SYSCTLS):
            yield Fault(option, "is not supported for an endpoint", known=False)
        elif option == ENDPOINT_INTERFACE and value and not is_interface(value):
            yield Fault(option, f"{value!r} is not a valid interface name")
        elif option == ENDPOINT_SYSCTLS:
            for entry, found in _sysctls(value):
                if found is None:
                    yield Fault(option, f"{entry!r} is not net.<ipv4|ipv6>.<conf|neigh>.IFNAME.<name>=<value>")


def endpoint_sysctls(options: Mapping[str, str], interface: str) -> list[tuple[str, str]]:
    """(path below /proc/sys/net, value) of the endpoint's link."""
    found = [one for _, one in _sysctls(options.get(ENDPOINT_SYSCTLS, "")) if one is not None]
    return [(path.replace("IFNAME", interface), value) for path, value in found]


def _sysctls(text: str) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """Each entry with its path and value; None if it is not the setting of a link."""
    for entry in filter(None, text.split(",")):
        key, _, value = entry.strip().partition("=")
        parts = re.fullmatch(r"net\.(ipv4|ipv6|mpls)\.(conf|neigh)\.IFNAME\.([a-z0-9_]+)", key)
        yield entry, (f"{parts[1]}/{parts[2]}/IFNAME/{parts[3]}", value) if parts and value else None
