"""The networks of the project, and how services connect to them."""

from __future__ import annotations

from composer.model import Project
from composer.model.network import Network
from composer.model.service import Attachment as Wanted
from composer.plan import labels
from composer.plan.desired import DesiredNetwork
from composer.plan.translate.addresses import check_attachment, check_overlaps, check_pools, enables_ipv6, has_version
from composer.plan.translate.namespaces import is_network, predefined_network
from composer.plan.translate.scope import Problems, Scope
from composer.release import COMPOSE
from engine.spec import networkoptions
from engine.spec.container import Attachment
from engine.spec.network import LAN_DRIVERS, NetworkSpec, Pool

DRIVERS = ("", "default", "bridge", "overlay", "macvlan", "ipvlan")
DEFAULT = "bridge"
"""The default network of the engine, created when a container needs it (network_mode: bridge)."""


_MOST_LINKED = 64
"""The most containers of one linked service that get their own names."""


def attachments(scope: Scope) -> tuple[Attachment, ...]:
    """The connections by priority, then by name, as in Docker Compose. The first is the main one."""
    service = scope.service
    if service.network_mode:
        if service.networks:
            scope.refuse(("network_mode",), "cannot be combined with networks")
        mode = DEFAULT if service.network_mode == "default" else service.network_mode
        return (Attachment(network=mode, mac_address=service.mac_address),) if is_network(mode) else ()
    if predefined_network(scope):
        return ()
    names = sorted(service.networks, key=lambda name: (-service.networks[name].priority, name))
    found = []
    interfaces: dict[str, str] = {}
    for index, name in enumerate(names):
        link = service.networks[name].interface_name
        if link and link in interfaces:
            other = interfaces[link]
            scope.refuse(("networks", name, "interface_name"), f"{link!r} is already the interface of network {other}")
        interfaces[link] = name
        if name not in scope.project.networks:
            scope.refuse(("networks", name), "the project has no such network")
            continue
        found.append(_attachment(scope, name, service.networks[name], main=index == 0))
    return tuple(found)


def _attachment(scope: Scope, name: str, wanted: Wanted, *, main: bool) -> Attachment:
    mac = wanted.mac_address or (scope.service.mac_address if main else "")
    if main and wanted.mac_address and scope.service.mac_address not in ("", wanted.mac_address):
        scope.refuse(("mac_address",), f"differs from that of network {name}, {wanted.mac_address}: give only one")
    check_attachment(scope, name, wanted)
    network = scope.project.networks[name]
    return Attachment(
        network=engine_name(scope.project, name),
        aliases=tuple(dict.fromkeys((scope.name, *wanted.aliases))),
        ipv4_address=wanted.ipv4_address if has_version(network, 4) else "",
        ipv6_address=wanted.ipv6_address if has_version(network, 6) else "",
        avoid=_others(scope, name),
        link_local_ips=wanted.link_local_ips,
        mac_address=mac,
        interface_name=wanted.interface_name,
        priority=wanted.priority,
        gw_priority=wanted.gw_priority,
        driver_opts=dict(wanted.driver_opts),
    )


def _others(scope: Scope, name: str) -> tuple[str, ...]:
    """The addresses that the files assign to other services on this network."""
    given = (
        service.networks[name]
        for key, service in scope.project.services.items()
        if key != scope.name and name in service.networks
    )
    return tuple(sorted({one for entry in given for one in (entry.ipv4_address, entry.ipv6_address) if one}))


def links(scope: Scope) -> tuple[tuple[str, str], ...]:
    """Pairs (name, alias). `links` name services, `external_links` containers outside the project; both can add an
    alias.

    Containers of a linked service also get their own names and SERVICE-NUMBER, because service names do not resolve on
    Docker's default network (network_mode: bridge).
    """
    found = []
    for key, given in (("links", scope.service.links), ("external_links", scope.service.external_links)):
        for index, text in enumerate(given):
            name, _, alias = text.partition(":")
            if key == "links" and name not in scope.project.services:
                scope.refuse((key, index), f"no enabled service {name}")
            found.append((name, alias or name))
            if key == "links" and name in scope.project.services:
                found += _linked_containers(scope.project, name, alias or name)
    return tuple(dict.fromkeys(found))


def _linked_containers(project: Project, name: str, alias: str) -> list[tuple[str, str]]:
    service = project.services[name]
    replicas = service.deploy.replicas if service.deploy else None
    number = next((count for count in (service.scale, replicas) if count is not None), 1)
    found = []
    for index in range(1, min(number, _MOST_LINKED) + 1):
        own = service.container_name
        for container in (own,) if own else (f"{project.name}-{name}-{index}", f"{project.name}_{name}_{index}"):
            found += [(container, alias), (container, f"{name}-{index}")]
    return found


def engine_name(project: Project, key: str) -> str:
    return project.networks[key].name or f"{project.name}_{key}"


def networks(project: Project, problems: Problems) -> dict[str, DesiredNetwork]:
    check_overlaps(project, problems)
    return {key: _network(project, key, network, problems) for key, network in project.networks.items()}


def _check_options(path: tuple[str, str], network: Network, problems: Problems) -> None:
    """Check enable_ipv4 and driver_opts. Those of overlay networks depend on the host's settings."""
    ipv6 = enables_ipv6(network)
    if network.enable_ipv4 is False and not ipv6:
        problems.refuse((*path, "enable_ipv4"), "IPv4 or IPv6 must be enabled: set enable_ipv6: true")
    driver = "bridge" if network.driver in ("", "default") else network.driver
    if driver in ("bridge", *LAN_DRIVERS):
        found = networkoptions.faults(driver, network.driver_opts, internal=network.internal, ipv6=ipv6)
        for fault in found:
            problems.refuse((*path, "driver_opts", fault.option), fault.why)


def _check_drivers(path: tuple[str, str], network: Network, problems: Problems) -> None:
    if network.driver not in DRIVERS:
        hint = " (network_mode: host or none needs no network)" if network.driver in ("host", "null", "none") else ""
        problems.refuse(
            (*path, "driver"),
            f"{network.driver!r} is not supported; supported: bridge, overlay, macvlan, ipvlan{hint}",
        )
    drivers = ("default", "dhcp") if network.driver == "macvlan" else ("default",)
    if network.ipam is not None and network.ipam.driver not in ("", *drivers):
        problems.refuse(
            (*path, "ipam", "driver"), f"{network.ipam.driver!r} is not supported; supported: {', '.join(drivers)}"
        )
    if network.ipam is not None and network.ipam.options:
        option = min(network.ipam.options)
        problems.refuse((*path, "ipam", "options", option), "the default IPAM driver has no such option")


def _network(project: Project, key: str, network: Network, problems: Problems) -> DesiredNetwork:
    if not network.external:
        path = ("networks", key)
        _check_drivers(path, network, problems)
        check_pools(path, network, problems)
        _check_options(path, network, problems)
    pools = (network.ipam.config or ()) if network.ipam is not None else ()
    spec = NetworkSpec(
        name=engine_name(project, key),
        driver="bridge" if network.driver in ("", "default") else network.driver,
        host_access=network.host_access,
        ipam_driver="dhcp" if network.ipam is not None and network.ipam.driver == "dhcp" else "",
        driver_opts=dict(network.driver_opts),
        internal=network.internal,
        attachable=network.attachable,
        enable_ipv4=network.enable_ipv4 is not False,
        enable_ipv6=enables_ipv6(network),
        pools=tuple(
            Pool(
                subnet=pool.subnet,
                gateway=pool.gateway,
                ip_range=pool.ip_range,
                aux_addresses=dict(pool.aux_addresses),
            )
            for pool in pools
        ),
        labels={
            **network.labels,
            labels.PROJECT: project.name,
            labels.NETWORK: key,
            labels.VERSION: COMPOSE,
        },
    )
    return DesiredNetwork(spec=spec, external=network.external)
