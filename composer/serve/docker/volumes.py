"""Volumes listed and inspected (Docker Engine API 1.55, "Volumes")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from composer.serve.docker import found
from composer.serve.docker.filters import Filters, matches
from composer.serve.docker.text import timestamp
from composer.serve.http.errors import HTTPError
from composer.serve.http.request import Reply

if TYPE_CHECKING:
    from composer.run.port import Engine
    from composer.serve.http.connection import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server
    from engine.spec.network import VolumeRecord

FILTERS = ("dangling", "driver", "label", "name")


def need(engine: Engine, name: str) -> VolumeRecord:
    for record in engine.volumes():
        if record.spec.name == name:
            return record
    raise HTTPError(404, f"get {name}: no such volume")


async def listing(server: Server, request: Request, exchange: Exchange) -> Reply:
    filters = Filters(request.query("filters"), FILTERS)
    dangling = filters.boolean("dangling")
    used = {
        name
        for record in found.every(server.engine)
        for name in (*record.state.anonymous_volumes, *(m.source for m in record.spec.mounts if m.type == "volume"))
    }

    def fits(record: VolumeRecord) -> bool:
        spec = record.spec
        return (
            filters.any("name", lambda value: matches(value, spec.name))
            and filters.any("driver", lambda value: value == spec.driver)
            and (dangling is None or dangling == (spec.name not in used))
            and filters.labels(spec.labels)
        )

    return Reply({"Volumes": [shown(v) for v in server.engine.volumes() if fits(v)], "Warnings": None})


async def inspect(server: Server, request: Request, exchange: Exchange) -> Reply:
    return Reply(shown(need(server.engine, request.arguments["name"])))


def shown(record: VolumeRecord) -> dict[str, Any]:
    spec = record.spec
    return {
        "CreatedAt": timestamp(record.created_at),
        "Driver": spec.driver,
        "Labels": dict(spec.labels) or None,
        "Mountpoint": record.mountpoint,
        "Name": spec.name,
        "Options": dict(spec.driver_opts) or None,
        "Scope": "local",
    }
