"""Volumes listed and inspected (Docker Engine API 1.55, "Volumes")."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

from composer.plan.operations import CreateVolume, RemoveVolume
from composer.serve.docker import body, found
from composer.serve.docker.containers import tree_size
from composer.serve.docker.filters import Filters, matches
from composer.serve.docker.text import timestamp
from composer.serve.http.errors import BadRequest, HTTPError
from composer.serve.http.request import NO_CONTENT, OBJECT, Reply
from composer.serve.supervised import CAUSE, group_of, perform
from engine.spec.network import VolumeSpec

if TYPE_CHECKING:
    from composer.run.port import Engine
    from composer.serve.http.connection import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server
    from engine.spec.network import VolumeRecord

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")
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


class Wanted(body.Body):
    """The body of `POST /volumes/create`."""

    name: str | None = None
    driver: str | None = None
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    cluster_volume_spec: dict[str, Any] | None = None


async def create(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Idempotent: an existing volume of the name is the answer."""
    asked, _ = body.shaped(await request.json(OBJECT) or {}, Wanted)
    name = asked.name or secrets.token_hex(32)
    if asked.driver not in (None, "", "local", "default"):
        raise HTTPError(
            404, f'create {name}: error looking up volume plugin {asked.driver}: plugin "{asked.driver}" not found'
        )
    if not NAME.match(name):
        raise BadRequest(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )
    if all(volume.spec.name != name for volume in server.engine.volumes()):
        spec = VolumeSpec(
            name=name, driver_opts=asked.driver_opts or {}, labels=asked.labels or {}, anonymous=not asked.name
        )
        operation = CreateVolume(id=0, name=name, cause=CAUSE, volume=spec)
        await perform(server, group_of(spec.labels), operation)
    return Reply(shown(need(server.engine, name)), status=201)


def _users(server: Server, name: str) -> list[str]:
    """The ids of the containers that have the volume."""
    return [
        record.id
        for record in found.every(server.engine)
        if name in record.state.anonymous_volumes
        or any(m.source == name for m in record.spec.mounts if m.type == "volume")
    ]


async def remove(server: Server, request: Request, exchange: Exchange) -> Reply:
    name = request.arguments["name"]
    try:
        record = need(server.engine, name)
    except HTTPError:
        if request.flag("force"):
            return NO_CONTENT
        raise
    if users := _users(server, name):
        raise HTTPError(409, f"remove {name}: volume is in use - [{', '.join(users)}]")
    await perform(server, group_of(record.spec.labels), RemoveVolume(id=0, name=name, cause=CAUSE))
    return NO_CONTENT


async def prune(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Remove anonymous volumes that no container has; with the filter `all`, named ones, too."""
    filters = Filters(request.query("filters"), ("all", "label", "label!"))
    everything = filters.boolean("all") or request.version < (1, 42)
    gone, freed = [], 0
    for record in server.engine.volumes():
        spec = record.spec
        if (
            (spec.anonymous or everything)
            and filters.labels(spec.labels)
            and not (filters.get("label!") and filters.labels(spec.labels, "label!"))
            and not _users(server, spec.name)
        ):
            size = tree_size(record.mountpoint)
            await perform(server, group_of(spec.labels), RemoveVolume(id=0, name=spec.name, cause=CAUSE))
            gone.append(spec.name)
            freed += size
    return Reply({"VolumesDeleted": gone, "SpaceReclaimed": freed})
