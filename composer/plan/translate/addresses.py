"""Check values that must be addresses, subnets or names. Invalid ones are reported at their position, before anything
is created."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Collection

from composer.model.network import Network, Pool
from composer.model.project import Path, Project
from composer.model.service import Attachment
from composer.plan.translate.scope import Problems, Scope
from engine.spec import networkoptions
from engine.spec.network import OVERLAY
from engine.vocabulary import HOST_GATEWAY

_MAC = re.compile(r"[0-9a-fA-F]{2}([:-])([0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}")
_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f]")
_LONGEST = 64
"""The longest host name in bytes (sethostname(2))."""

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def check_names(scope: Scope) -> None:
    """hostname, domainname, dns, dns_search, dns_opt, extra_hosts, mac_address."""
    service = scope.service
    for key in ("hostname", "domainname"):
        value = getattr(service, key)
        if _UNPRINTABLE.search(value) or len(value.encode()) > _LONGEST:
            scope.refuse((key,), f"{value!r} is not a host name: it has spaces, or more than {_LONGEST} bytes")
    for index, server in enumerate(service.dns):
        if address(server) is None:
            scope.refuse(("dns", index), f"{server!r} is not an IP address")
    for key in ("dns_search", "dns_opt"):
        for index, value in enumerate(getattr(service, key)):
            if _UNPRINTABLE.search(value):
                scope.refuse((key, index), f"{value!r} contains spaces: use one item for each")
    for index, entry in enumerate(service.extra_hosts):
        separator = "=" if "=" in entry else ":"
        host, _, where = entry.partition(separator)
        if not host or _UNPRINTABLE.search(host):
            scope.refuse(("extra_hosts", index), f"{entry!r} is not HOST=ADDRESS")
        elif where != HOST_GATEWAY and address(where.removeprefix("[").removesuffix("]")) is None:
            scope.refuse(("extra_hosts", index), f"{where!r} is neither an IP address nor {HOST_GATEWAY}")
    _check_mac(scope, ("mac_address",), service.mac_address)


def check_attachment(scope: Scope, name: str, wanted: Attachment) -> None:
    """Check a service's settings for one network."""
    network = scope.project.networks[name]
    for version, key in ((4, "ipv4_address"), (6, "ipv6_address")):
        text = getattr(wanted, key)
        path = ("networks", name, key)
        found = address(text) if text else None
        if text and (found is None or found.version != version):
            scope.refuse(path, f"{text!r} is not an IPv{version} address")
        elif found and not network.external and (why := _unassignable(found, name, network)):
            scope.refuse(path, why)
        elif found and not has_version(network, version):
            scope.warn(
                path, f"has no effect, because network {name} has no IPv{version} addresses (enable_ipv{version})"
            )
    for index, text in enumerate(wanted.link_local_ips):
        found = address(text)
        if found is None or not found.is_link_local:
            scope.refuse(("networks", name, "link_local_ips", index), f"{text!r} is not a link-local address")
    _check_mac(scope, ("networks", name, "mac_address"), wanted.mac_address)
    if wanted.interface_name and not networkoptions.is_interface(wanted.interface_name):
        why = (
            f"{wanted.interface_name!r} is not valid: it has more than 15 characters, a slash, colon or space, or is lo"
        )
        scope.refuse(("networks", name, "interface_name"), why)
    for fault in networkoptions.endpoint_faults(wanted.driver_opts):
        scope.refuse(("networks", name, "driver_opts", fault.option), fault.why)


def _unassignable(found: Address, name: str, network: Network) -> str:
    """Why a container cannot have this address on the network; "" if nothing is known that prevents it."""
    leased = network.ipam is not None and network.ipam.driver == "dhcp"
    if network.driver == OVERLAY or (leased and found.version == 4):
        return ""  # other hosts decide
    given = [(pool, _subnet(pool.subnet)) for pool in (network.ipam.config or ())] if network.ipam is not None else []
    pools = [(pool, one) for pool, one in given if one is not None and one.version == found.version]
    if not pools and all(subnet is not None for _, subnet in given):
        return f"a fixed address requires a subnet of its own: set networks.{name}.ipam.config"
    for pool, subnet in pools:
        if subnet.network_address.is_unspecified:
            return ""
        if found in subnet:
            return _reserved(found, pool, subnet)
    known = ", ".join(str(subnet) for _, subnet in pools)
    return f"{found} is not in the subnet of network {name}, {known}" if pools else ""


def _reserved(found: Address, pool: Pool, subnet: Subnet) -> str:
    """What else has this address, "" for nothing."""
    if found in _edges(subnet):
        return f"{found} is the address of the network {subnet} itself or its broadcast address"
    others = {address(text): f"aux_addresses.{key}" for key, text in pool.aux_addresses.items()}
    others[address(pool.gateway) or _gateway(pool, subnet, others)] = "the gateway"
    return f"{found} is the address of {others[found]}" if found in others else ""


def _gateway(pool: Pool, subnet: Subnet, taken: Collection[Address | None]) -> Address:
    """The gateway that a network without one gets: the first usable address of its range."""
    within = (_subnet(pool.ip_range, strict=False) if pool.ip_range else None) or subnet
    unusable = {*taken, *_edges(subnet)}
    first = range(min(1 + len(unusable), within.num_addresses))
    return next((within[index] for index in first if within[index] not in unusable), within[0])


def _edges(subnet: Subnet) -> tuple[Address, ...]:
    """The addresses of the network itself and of all its hosts; two hosts alone have neither (RFC 3021, RFC 6164)."""
    return (subnet[0], subnet.broadcast_address) if subnet.num_addresses > 2 else ()


def _check_mac(scope: Scope, path: Path, text: str) -> None:
    if text and (not _MAC.fullmatch(text) or int(text[:2], 16) & 1 or not text.strip("0:-")):
        scope.refuse(path, f"{text!r} is not a valid MAC address, like 02:42:ac:11:00:02")


def enables_ipv6(network: Network) -> bool:
    """Whether the network has IPv6, by `enable_ipv6` or by the equivalent driver option."""
    option = network.driver_opts.get(networkoptions.ENABLE_IPV6, "")
    return network.enable_ipv6 is True or (network.enable_ipv6 is None and option.lower() in ("true", "1", "t"))


def has_version(network: Network, version: int) -> bool:
    """Whether the project's network has addresses of this IP version; True if that is not known."""
    if network.external or network.driver == OVERLAY:
        return True
    return enables_ipv6(network) if version == 6 else network.enable_ipv4 is not False


def check_pools(path: Path, network: Network, problems: Problems) -> None:
    """Check networks.*.ipam.config."""
    seen: dict[int, str] = {}
    for index, pool in enumerate((network.ipam.config or ()) if network.ipam is not None else ()):
        where = (*path, "ipam", "config", index)
        if not pool.subnet:
            problems.refuse(where, "has no subnet")
            continue
        subnet = _subnet(pool.subnet)
        if subnet is None:
            problems.refuse((*where, "subnet"), _no_subnet(pool.subnet))
            continue
        if subnet.is_multicast or subnet.is_loopback:
            kind = "multicast" if subnet.is_multicast else "loopback"
            problems.refuse(
                (*where, "subnet"), f"{pool.subnet} consists of {kind} addresses, which no interface can have"
            )
        if subnet.version == 6 and subnet.network_address.ipv4_mapped:
            problems.refuse((*where, "subnet"), f"{pool.subnet} consists of IPv4 addresses: write them as such")
        if subnet.version in seen:
            why = f"a bridge network has one IPv{subnet.version} subnet, and {seen[subnet.version]} is already set"
            problems.refuse((*where, "subnet"), why)
        seen.setdefault(subnet.version, pool.subnet)
        if subnet.num_addresses < 2:
            problems.refuse((*where, "subnet"), f"{subnet} is too small for a gateway and a container")
        if subnet.version == 6 and not enables_ipv6(network):
            problems.warn((*where, "subnet"), "has no effect without enable_ipv6: true")
        if not subnet.network_address.is_unspecified:
            _check_pool(where, pool, subnet, problems)


def _check_pool(where: Path, pool: Pool, subnet: Subnet, problems: Problems) -> None:
    if pool.ip_range:
        within = _subnet(pool.ip_range, strict=False)
        if within is None or within.version != subnet.version or not _contains(subnet, within):
            problems.refuse((*where, "ip_range"), f"{pool.ip_range} is not a part of the subnet {subnet}")
    given = {"gateway": pool.gateway} if pool.gateway else {}
    given |= {f"aux_addresses.{name}": text for name, text in pool.aux_addresses.items()}
    owners: dict[Address, str] = {}
    edges = _edges(subnet)
    for key, text in given.items():
        found, place = address(text), (*where, *key.split(".", 1))
        if found is None:
            problems.refuse(place, f"{text!r} is not an IP address")
        elif found not in subnet:
            problems.refuse(place, f"{text} is not in the subnet {subnet}")
        elif found in edges:
            problems.refuse(place, f"{text} is the address of the network {subnet} itself or its broadcast address")
        elif found in owners:
            problems.refuse(place, f"{text} is also the address of {owners[found]}")
        else:
            owners[found] = key


def _contains(subnet: Subnet, within: Subnet) -> bool:
    return within[0] in subnet and within[-1] in subnet


def check_overlaps(project: Project, problems: Problems) -> None:
    """Refuse subnets of bridge networks that overlap those of another network in use."""
    used = {name for service in project.services.values() for name in service.networks}
    spans = []
    for name in sorted(used & project.networks.keys()):
        network = project.networks[name]
        if network.external or network.driver not in ("", "default", "bridge") or network.ipam is None:
            continue
        for index, pool in enumerate(network.ipam.config or ()):
            subnet = _subnet(pool.subnet)
            if subnet is not None and not subnet.network_address.is_unspecified:
                spans.append((subnet.version, int(subnet[0]), int(subnet[-1]), name, index, subnet))
    spans.sort(key=lambda span: span[:2])
    for before, after in itertools.pairwise(spans):
        if before[0] == after[0] and after[1] <= before[2] and before[3] != after[3]:
            path = ("networks", after[3], "ipam", "config", after[4], "subnet")
            problems.refuse(path, f"{after[5]} overlaps {before[5]} of network {before[3]}")


def _subnet(text: str, *, strict: bool = True) -> Subnet | None:
    try:
        return ipaddress.ip_network(text, strict=strict) if "/" in text else None
    except ValueError:
        return None


def _no_subnet(text: str) -> str:
    loose = _subnet(text, strict=False)
    return f"{text!r} is not a subnet" + (f": it should be {loose}" if loose else ", like 10.1.0.0/24")
