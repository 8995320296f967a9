"""Listing and inspecting containers and their processes (Docker Engine API 1.55, "Containers")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import to_thread

from composer.serve.http.errors import HTTPError
from composer.serve.http.request import Reply
from composer.view import lookup
from composer.view.container_list import FILTERS, listed, selected
from composer.view.filters import Filters
from composer.view.inspect import inspected
from engine.filetree.size import tree_size

if TYPE_CHECKING:
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server


async def listing(server: Server, request: Request, exchange: Exchange) -> Reply:
    engine = server.snapshots.latest()
    filters = Filters.of_json(request.query("filters"), FILTERS)
    limit = request.number("limit", 0) or 0
    records = selected(engine, filters, everything=request.flag("all") or limit > 0)
    if limit > 0:
        records = records[:limit]
    if request.flag("size"):
        return Reply([listed(engine, record, sizes=True) for record in records])
    return Reply([server.rows.row(engine, record) for record in records])


async def inspect(server: Server, request: Request, exchange: Exchange) -> Reply:
    engine = server.snapshots.latest()
    record = lookup.container(engine, request.arguments["id"])
    image = engine.image(record.spec.image)
    value = inspected(engine, record, image.config if image else None)
    if request.flag("size"):
        value["SizeRw"] = tree_size(f"{engine.folder(record.group, record.id)}/upper")
        value["SizeRootFs"] = value["SizeRw"] + (image.size if image else 0)
    return Reply(value)


async def top(server: Server, request: Request, exchange: Exchange) -> Reply:
    record = lookup.container(server.engine, request.arguments["id"])
    if not record.state.status.alive:
        raise HTTPError(409, f"container {record.id} is not running")
    from composer.view.processes import COLUMNS, processes, ps_columns

    server.journal.container("top", record)
    arguments = request.query("ps_args")
    server.access.check_ps(arguments)
    if arguments in ("", "-ef"):
        return Reply({"Titles": list(COLUMNS), "Processes": [list(row) for row in processes(record.state.pid)]})
    titles, rows = await to_thread.run_sync(ps_columns, record.state.pid, arguments)
    return Reply({"Titles": titles, "Processes": rows})
