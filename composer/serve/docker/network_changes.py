"""Networks created and removed (Docker Engine API 1.55, "Networks")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import field

from composer.plan.operations import CreateNetwork, RemoveNetwork
from composer.serve.docker import body, found, networks
from composer.serve.docker.filters import Filters
from composer.serve.http.errors import BadRequest, HTTPError
from composer.serve.http.request import NO_CONTENT, OBJECT, Reply
from composer.serve.supervised import CAUSE, group_of, perform
from engine.spec.network import NetworkSpec, Pool

if TYPE_CHECKING:
    from composer.serve.http.connection import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server
    from engine.spec.network import NetworkRecord


class WantedPool(body.Body):
    subnet: str | None = None
    ip_range: str | None = field(default=None, name="IPRange")
    gateway: str | None = None
    auxiliary_addresses: dict[str, str] | None = None
    aux_address: dict[str, str] | None = None


class WantedIPAM(body.Body):
    driver: str | None = None
    options: dict[str, str] | None = None
    config: list[WantedPool] | None = None


class Wanted(body.Body):
    """The body of `POST /networks/create`."""

    name: str | None = None
    check_duplicate: bool | None = None
    driver: str | None = None
    scope: str | None = None
    internal: bool | None = None
    attachable: bool | None = None
    ingress: bool | None = None
    config_only: bool | None = None
    config_from: dict[str, Any] | None = None
    ipam: WantedIPAM | None = field(default=None, name="IPAM")
    enable_ipv4: bool | None = field(default=None, name="EnableIPv4")
    enable_ipv6: bool | None = field(default=None, name="EnableIPv6")
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None


async def create(server: Server, request: Request, exchange: Exchange) -> Reply:
    asked, unknown = body.shaped(await request.json(OBJECT) or {}, Wanted)
    name = asked.name or ""
    if not name.strip():
        raise BadRequest("invalid name: name is empty")
    if name in networks.BUILT_IN:
        raise HTTPError(403, f"operation is not permitted on predefined {name} network")
    if any(record.spec.name == name for record in networks.every(server.engine)):
        raise HTTPError(409, f"network with name {name} already exists")
    if asked.ingress or asked.config_only or (asked.config_from or {}).get("Network"):
        raise HTTPError(503, "Ingress and configuration networks need a swarm, which this engine has not")
    if asked.scope not in (None, "", "local"):
        raise HTTPError(400, f'invalid scope "{asked.scope}": networks here are local')
    ipam = asked.ipam or WantedIPAM()
    spec = NetworkSpec(
        name=name,
        driver=asked.driver or "bridge",
        driver_opts=asked.options or {},
        internal=bool(asked.internal),
        attachable=bool(asked.attachable),
        enable_ipv4=asked.enable_ipv4 is not False,
        enable_ipv6=bool(asked.enable_ipv6),
        ipam_driver="" if ipam.driver in (None, "default") else ipam.driver or "",
        ipam_options=ipam.options or {},
        pools=tuple(
            Pool(
                subnet=pool.subnet or "",
                ip_range=pool.ip_range or "",
                gateway=pool.gateway or "",
                aux_addresses=pool.auxiliary_addresses or pool.aux_address or {},
            )
            for pool in ipam.config or ()
        ),
        labels=asked.labels or {},
    )
    await perform(server, group_of(spec.labels), CreateNetwork(id=0, name=name, cause=CAUSE, network=spec))
    warning = "; ".join(f"{one} is not known and was ignored" for one in unknown)
    return Reply({"Id": networks.need(server.engine, name).id, "Warning": warning}, status=201)


def _members(server: Server, record: NetworkRecord) -> list[str]:
    """Names of the running containers on the network."""
    return [
        one.spec.name
        for one in found.every(server.engine)
        if one.state.status.alive and any(end.network == record.spec.name for end in one.state.endpoints)
    ]


async def remove(server: Server, request: Request, exchange: Exchange) -> Reply:
    record = networks.need(server.engine, request.arguments["id"])
    name = record.spec.name
    if name in networks.BUILT_IN:
        raise HTTPError(403, f"{name} is a pre-defined network and cannot be removed")
    if members := _members(server, record):
        names = " ".join(f'name:"{member}"' for member in members)
        raise HTTPError(409, f"error while removing network: network {name} has active endpoints ({names})")
    await perform(server, group_of(record.spec.labels), RemoveNetwork(id=0, name=name, cause=CAUSE))
    return NO_CONTENT


async def prune(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Remove the networks that no container, running or not, is to be on."""
    filters = Filters(request.query("filters"), ("label", "label!", "until"))
    used = {one.network for record in found.every(server.engine) for one in record.spec.networks}
    gone = []
    for record in server.engine.networks():
        spec = record.spec
        if (
            spec.name not in used
            and spec.name not in networks.BUILT_IN
            and filters.labels(spec.labels)
            and not (filters.get("label!") and filters.labels(spec.labels, "label!"))
        ):
            await perform(server, group_of(spec.labels), RemoveNetwork(id=0, name=spec.name, cause=CAUSE))
            gone.append(spec.name)
    return Reply({"NetworksDeleted": gone or None})
