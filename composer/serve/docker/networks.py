"""Listing and inspecting networks (Docker Engine API 1.55, "Networks")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.serve.http.request import Reply
from composer.view.filters import Filters
from composer.view.networks import FILTERS, members, need, selected, shown

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
        server.engine.need_default_network()
    record = need(server.engine, request.arguments["id"])
    return Reply({**shown(record), "Containers": members(server.engine, record)})
