"""Connecting and disconnecting containers (Docker Engine API 1.55, NetworkConnect, NetworkDisconnect)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.plan.operations import Connect, Disconnect
from composer.serve.docker import body
from composer.serve.docker.create import attachment
from composer.serve.http.errors import BadRequest, HTTPError
from composer.serve.http.request import OBJECT, Reply
from composer.serve.supervised import CAUSE, perform
from composer.view import lookup, networks

if TYPE_CHECKING:
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server
    from engine.spec.network import NetworkRecord
    from engine.spec.state import ContainerRecord


class Joining(body.Body):
    """The body of `POST /networks/{id}/connect` and `disconnect`."""

    container: str | None = None
    endpoint_config: body.Endpoint | None = None
    force: bool | None = None


async def connect(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Connect a container to a network, at once if it is running."""
    network, record, payload = await _joining(server, request)
    name = network.spec.name
    if reason := networks.unjoinable(record, name):
        raise HTTPError(403, reason)
    if name in {one.network for one in record.spec.networks}:
        raise HTTPError(403, f"endpoint with name {record.spec.name} already exists in network {name}")
    wanted = attachment(name, payload.endpoint_config or body.Endpoint())
    server.access.check_attachment(wanted, server.engine)
    operation = Connect(id=0, name=record.spec.name, cause=CAUSE, container_id=record.id, attachment=wanted)
    await perform(server, record.group, operation)
    _record_event(server, "connect", network, record)
    return Reply()


async def disconnect(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Disconnect a container from a network, at once if it is running."""
    network, record, _ = await _joining(server, request)
    name = network.spec.name
    if name not in {one.network for one in record.spec.networks}:
        raise HTTPError(403, f"container {record.id} is not connected to network {name}")
    operation = Disconnect(id=0, name=record.spec.name, cause=CAUSE, container_id=record.id, network=name)
    await perform(server, record.group, operation)
    _record_event(server, "disconnect", network, record)
    return Reply()


async def _joining(server: Server, request: Request) -> tuple[NetworkRecord, ContainerRecord, Joining]:
    payload, _ = body.shaped(await request.json(OBJECT) or {}, Joining)
    if request.arguments["id"] == "bridge":
        server.engine.need_default_network()
    network = networks.need(server.engine, request.arguments["id"])
    if not payload.container:
        raise BadRequest("invalid parameter: Container must not be empty")
    return network, lookup.container(server.engine, payload.container), payload


def _record_event(server: Server, action: str, network: NetworkRecord, record: ContainerRecord) -> None:
    attributes = {"container": record.id, "name": network.spec.name, "type": network.spec.driver}
    server.journal.add("network", action, network.id, attributes)
