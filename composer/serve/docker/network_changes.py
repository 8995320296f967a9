"""Creating and removing networks (Docker Engine API 1.55, "Networks")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import field

from composer.plan.labels import group_of
from composer.plan.operations import CreateNetwork, RemoveNetwork
from composer.serve.docker import body
from composer.serve.docker.swarm import NO_MANAGER
from composer.serve.http.errors import HTTPError
from composer.serve.http.request import NO_CONTENT, OBJECT, Reply
from composer.serve.supervised import CAUSE, perform
from composer.view import networks
from composer.view.filters import Filters
from engine.spec.network import NetworkSpec, Pool

if TYPE_CHECKING:
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server


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
    payload, unknown = body.shaped(await request.json(OBJECT) or {}, Wanted)
    name = payload.name or ""
    networks.check_free(server.engine, name)
    if payload.ingress or payload.config_only or (payload.config_from or {}).get("Network"):
        raise HTTPError(400, "Ingress and configuration networks need a swarm, which this engine does not support")
    if payload.scope not in (None, "", "local"):
        raise HTTPError(400, f'invalid scope "{payload.scope}": networks here are local')
    ipam = payload.ipam or WantedIPAM()
    if payload.driver == "overlay":
        raise HTTPError(503, NO_MANAGER)
    networks.check_driver(payload.driver or "bridge")
    networks.check_subnets(server.engine, [pool.subnet for pool in ipam.config or () if pool.subnet])
    spec = NetworkSpec(
        name=name,
        driver=payload.driver or "bridge",
        driver_opts=payload.options or {},
        internal=bool(payload.internal),
        attachable=bool(payload.attachable),
        enable_ipv4=payload.enable_ipv4 is not False,
        enable_ipv6=bool(payload.enable_ipv6),
        ipam_driver="" if ipam.driver in (None, "default") else ipam.driver or "",
        ipam_options=ipam.options,
        pools=tuple(
            Pool(
                subnet=pool.subnet or "",
                ip_range=pool.ip_range or "",
                gateway=pool.gateway or "",
                aux_addresses=pool.auxiliary_addresses or pool.aux_address or {},
            )
            for pool in ipam.config or ()
        ),
        labels=server.access.labels(payload.labels or {}),
    )
    server.access.check_network(spec)
    await perform(server, group_of(spec.labels), CreateNetwork(id=0, name=name, cause=CAUSE, network=spec))
    warning = "; ".join(f"{one} is not known and was ignored" for one in unknown)
    return Reply({"Id": networks.need(server.engine, name).id, "Warning": warning}, status=201)


async def remove(server: Server, request: Request, exchange: Exchange) -> Reply:
    record = networks.need(server.engine, request.arguments["id"])
    networks.check_removable(server.engine, record)
    name = record.spec.name
    await perform(server, group_of(record.spec.labels), RemoveNetwork(id=0, name=name, cause=CAUSE))
    return NO_CONTENT


async def prune(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Remove the networks that no container, running or not, is attached to."""
    filters = Filters.of_json(request.query("filters"), networks.PRUNE_FILTERS)
    removed = []
    for record in networks.unused(server.engine, filters):
        spec = record.spec
        await perform(server, group_of(spec.labels), RemoveNetwork(id=0, name=spec.name, cause=CAUSE))
        removed.append(spec.name)
    server.journal.pruned("network", 0)
    return Reply({"NetworksDeleted": removed or None})
