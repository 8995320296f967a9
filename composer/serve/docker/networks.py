"""Listing and inspecting networks (Docker Engine API 1.55, "Networks")."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from composer.plan.labels import group_of
from composer.plan.operations import CreateNetwork
from composer.serve.http.errors import HTTPError
from composer.serve.http.request import Reply
from composer.serve.supervised import CAUSE, perform
from composer.view.filters import Filters
from composer.view.networks import FILTERS, members, need, selected, shown
from engine.spec.network import NetworkSpec

if TYPE_CHECKING:
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server


async def listing(server: Server, request: Request, exchange: Exchange) -> Reply:
    filters = Filters.of_json(request.query("filters"), FILTERS)
    server.engine.need_default_network()
    return Reply([shown(record) for record in selected(server.engine, filters)])


async def inspect(server: Server, request: Request, exchange: Exchange) -> Reply:
    if request.arguments["id"] == "bridge":
        await _need_bridge(server)
    record = need(server.engine, request.arguments["id"])
    return Reply({**shown(record), "Containers": members(server.engine, record)})


async def _need_bridge(server: Server) -> None:
    """Create the network `bridge`, because clients in other networks reach published ports through its gateway, and
    keep it until the server exits. Without the permission to create it, only choose its addresses."""
    server.engine.need_default_network()
    if server.bridge >= 0 or server.access.read_only or server.access.project:
        return
    with contextlib.suppress(HTTPError, OSError):
        server.bridge = server.engine.hold_default_network()
        spec = NetworkSpec(name="bridge")
        await perform(server, group_of({}), CreateNetwork(id=0, name=spec.name, cause=CAUSE, network=spec))
