"""Networks listed and inspected (Docker Engine API 1.55, "Networks")."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from composer.serve.docker import found
from composer.serve.docker.filters import Filters, matches
from composer.serve.docker.text import timestamp
from composer.serve.http.errors import BadRequest, HTTPError
from composer.serve.http.request import Reply
from engine.spec.network import NetworkRecord, NetworkSpec

if TYPE_CHECKING:
    from composer.run.port import Engine
    from composer.serve.http.connection import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server

FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
BUILT_IN = ("bridge", "host", "none")
TYPES = ("builtin", "custom")


def every(engine: Engine) -> list[NetworkRecord]:
    """All networks, those included that exist without being made."""
    records = engine.networks()
    names = {record.spec.name for record in records}
    for name, driver in (("host", "host"), ("none", "null")):
        if name not in names:
            identity = hashlib.sha256(f"composer network {name}".encode()).hexdigest()
            records.append(NetworkRecord(id=identity, spec=NetworkSpec(name=name, driver=driver)))
    return records


def need(engine: Engine, wanted: str) -> NetworkRecord:
    """By name, id, or the beginning of an id. HTTPError 404, 400 for the beginning of several."""
    records = every(engine)
    for record in records:
        if wanted in (record.id, record.spec.name):
            return record
    near = [record for record in records if wanted and record.id.startswith(wanted)]
    if len(near) > 1:
        raise HTTPError(400, f"network {wanted} is ambiguous ({len(near)} matches found based on ID prefix)")
    if not near:
        raise HTTPError(404, f"network {wanted} not found")
    return near[0]


async def listing(server: Server, request: Request, exchange: Exchange) -> Reply:
    filters = Filters(request.query("filters"), FILTERS)
    for value in filters.get("type"):
        if value not in TYPES:
            raise BadRequest(f"invalid filter: 'type'='{value}'")
    dangling = filters.boolean("dangling")
    used = {e.network for record in found.every(server.engine) for e in record.spec.networks}

    def fits(record: NetworkRecord) -> bool:
        spec = record.spec
        built_in = spec.name in BUILT_IN
        return (
            filters.any("name", lambda value: matches(value, spec.name))
            and filters.any("id", lambda value: matches(value, record.id))
            and filters.any("driver", lambda value: value == spec.driver)
            and filters.any("scope", lambda value: value == "local")
            and filters.any("type", lambda value: (value == "builtin") == built_in)
            and (dangling is None or dangling == (not built_in and spec.name not in used))
            and filters.labels(spec.labels)
        )

    return Reply([shown(server.engine, record) for record in every(server.engine) if fits(record)])


async def inspect(server: Server, request: Request, exchange: Exchange) -> Reply:
    record = need(server.engine, request.arguments["id"])
    return Reply({**shown(server.engine, record), "Containers": _members(server.engine, record)})


def shown(engine: Engine, record: NetworkRecord) -> dict[str, Any]:
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
        "IPAM": {"Driver": spec.ipam_driver or "default", "Options": dict(spec.ipam_options), "Config": pools},
        "Internal": spec.internal,
        "Attachable": spec.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": dict(spec.driver_opts),
        "Labels": dict(spec.labels),
    }


def _members(engine: Engine, network: NetworkRecord) -> dict[str, dict[str, str]]:
    """The running containers on a network, by id."""
    members = {}
    for record in found.every(engine):
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
