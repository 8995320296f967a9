"""Networks as Docker presents them (Docker Engine API 1.55, "Networks")."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network
from typing import TYPE_CHECKING, Any

from composer.view import lookup
from composer.view.api_format import timestamp
from composer.view.errors import Forbidden, InUse, Refusal, Unknown
from composer.view.filters import Filters, matches
from engine.digest import hexadecimal
from engine.spec.network import BUILD_NETWORK, NetworkRecord, NetworkSpec
from engine.spec.state import ContainerRecord
from engine.vocabulary import PREDEFINED_NETWORKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from composer.run.port import Engine

FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
PRUNE_FILTERS = ("label", "label!", "until")
DRIVERS = ("bridge", "host", "ipvlan", "macvlan", "null")
TYPES = ("builtin", "custom")


def every(engine: Engine) -> list[NetworkRecord]:
    """All networks, including the predefined ones."""
    records = [record for record in engine.networks() if record.spec.name != BUILD_NETWORK]
    names = {record.spec.name for record in records}
    for name, driver in (("host", "host"), ("none", "null")):
        if name not in names:
            identity = hexadecimal(f"composer network {name}".encode())
            records.append(NetworkRecord(id=identity, spec=NetworkSpec(name=name, driver=driver)))
    return records


def need(engine: Engine, wanted: str) -> NetworkRecord:
    """Find a network by name, id, or the beginning of an id. Raises Unknown, or Refusal for the beginning of
    several."""
    near = lookup.named(every(engine), wanted, lambda record: (record.id, record.spec.name))
    if len(near) > 1:
        raise Refusal(f"network {wanted} is ambiguous ({len(near)} matches found based on ID prefix)")
    if not near:
        raise Unknown(f"network {wanted} not found")
    return near[0]


def unjoinable(record: ContainerRecord, network: str) -> str:
    """Why the container cannot be connected to this network besides its own, in Docker's words; "" if it can."""
    mode = record.spec.network_mode
    if mode == "host" or mode.startswith("container:"):
        return "container sharing network namespace with another container or host cannot be connected to any other network"
    if network == "none":
        return "container cannot be connected to multiple networks with one of the networks in private (none) mode"
    if network == "host":
        return "cannot connect container to host network - container must be created in host network mode"
    return ""


def selected(engine: Engine, filters: Filters) -> list[NetworkRecord]:
    """The networks that match. Raises Refusal."""
    for value in filters.get("type"):
        if value not in TYPES:
            raise Refusal(f"invalid filter: 'type'='{value}'")
    try:
        dangling = filters.boolean("dangling")
    except Refusal:
        raise Refusal('invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")') from None
    used = {e.network for record in lookup.every(engine) for e in record.spec.networks}

    def fits(record: NetworkRecord) -> bool:
        spec = record.spec
        built_in = spec.name in PREDEFINED_NETWORKS
        return (
            filters.any("name", lambda value: matches(value, spec.name))
            and filters.any("id", lambda value: matches(value, record.id))
            and filters.any("driver", lambda value: value == spec.driver)
            and filters.any("scope", lambda value: value == "local")
            and filters.any("type", lambda value: (value == "builtin") == built_in)
            and (dangling is None or dangling == (not built_in and spec.name not in used))
            and filters.labels(spec.labels)
        )

    return [record for record in every(engine) if fits(record)]


def unused(engine: Engine, filters: Filters) -> list[NetworkRecord]:
    """The networks that a prune removes: those that no container, running or not, uses. Raises Refusal."""
    used = {one.network for record in lookup.every(engine) for one in record.spec.networks}
    until = filters.before()
    return [
        record
        for record in engine.networks()
        if record.spec.name not in used
        and record.spec.name not in PREDEFINED_NETWORKS
        and filters.labelled(record.spec.labels)
        and (until is None or record.created_at < until)
    ]


def check_free(engine: Engine, name: str) -> None:
    """Check that a network can get this name. Raises Refusal, Forbidden, InUse."""
    if not name.strip():
        raise Refusal("invalid name: name is empty")
    if name in (*PREDEFINED_NETWORKS, BUILD_NETWORK):
        raise Forbidden(f"operation is not permitted on predefined {name} network")
    if any(record.spec.name == name for record in every(engine)):
        raise InUse(f"network with name {name} already exists")


def check_driver(driver: str) -> None:
    """Raises Unknown for a driver that this engine lacks."""
    if driver not in DRIVERS:
        raise Unknown(f'plugin "{driver}" not found')


def check_subnets(engine: Engine, subnets: Sequence[str]) -> None:
    """Check that a network can have these subnets. Raises Refusal, or Forbidden if they overlap with another
    network's."""
    wanted = []
    for text in subnets:
        try:
            wanted.append(ip_network(text, strict=False))
        except ValueError:
            raise Refusal(f"invalid network config:\ninvalid subnet {text}: invalid CIDR block notation") from None
        if str(wanted[-1]) != text and ip_interface(text).ip != wanted[-1].network_address:
            raise Refusal(f"invalid network config:\ninvalid subnet {text}: it should be {wanted[-1]}")
    taken = [ip_network(pool.subnet) for record in engine.networks() for pool in record.pools if pool.subnet]
    if any(one.version == other.version and one.overlaps(other) for one in wanted for other in taken):
        raise Forbidden("invalid pool request: Pool overlaps with other one on this address space")


def check_removable(engine: Engine, record: NetworkRecord) -> None:
    """Raises Forbidden for a predefined network, InUse while running containers are connected."""
    name = record.spec.name
    if name in PREDEFINED_NETWORKS:
        raise Forbidden(f"{name} is a pre-defined network and cannot be removed")
    if joined := members(engine, record).values():
        names = " ".join(f'name:"{member["Name"]}" id:"{member["EndpointID"][:12]}"' for member in joined)
        raise InUse(f"error while removing network: network {name} has active endpoints ({names})")


def shown(record: NetworkRecord) -> dict[str, Any]:
    spec = record.spec
    pools = [
        {
            key: value
            for key, value in (
                ("Subnet", pool.subnet),
                ("IPRange", pool.ip_range),
                ("Gateway", pool.gateway),
                ("AuxiliaryAddresses", dict(pool.aux_addresses)),
            )
            if value
        }
        for pool in record.pools or spec.pools
    ]
    return {
        "Name": spec.name,
        "Id": record.id,
        "Created": timestamp(record.created_at),
        "Scope": "local",
        "Driver": spec.driver,
        "EnableIPv4": spec.enable_ipv4,
        "EnableIPv6": spec.enable_ipv6,
        "IPAM": {"Driver": spec.ipam_driver or "default", "Options": spec.ipam_options, "Config": pools},
        "Internal": spec.internal,
        "Attachable": spec.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": dict(spec.driver_opts),
        "Labels": dict(spec.labels),
    }


def members(engine: Engine, network: NetworkRecord) -> dict[str, dict[str, str]]:
    """The running containers on a network, by id."""
    members = {}
    for record in lookup.every(engine):
        for endpoint in record.state.endpoints if record.state.status.alive else ():
            if endpoint.network == network.spec.name:
                four = f"{endpoint.ipv4_address}/{endpoint.ipv4_prefix}" if endpoint.ipv4_address else ""
                six = f"{endpoint.ipv6_address}/{endpoint.ipv6_prefix}" if endpoint.ipv6_address else ""
                members[record.id] = {
                    "Name": record.spec.name,
                    "EndpointID": f"{record.id[:32]}{network.id[:32]}",
                    "MacAddress": endpoint.mac_address,
                    "IPv4Address": four,
                    "IPv6Address": six,
                }
    return members
