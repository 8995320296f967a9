"""Volumes (Docker Engine API 1.55, "Volumes")."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any, NoReturn

from composer.plan.labels import group_of
from composer.plan.operations import CreateVolume, RemoveVolume
from composer.serve.docker import body
from composer.serve.http.errors import BadRequest, HTTPError
from composer.serve.http.request import NO_CONTENT, OBJECT, Reply
from composer.serve.supervised import CAUSE, perform
from composer.view.errors import Unknown
from composer.view.filters import Filters
from composer.view.volumes import FILTERS, PRUNE_FILTERS, check_name, check_removable, need, selected, shown, unused
from engine.filetree.size import tree_size
from engine.spec.network import VolumeSpec

if TYPE_CHECKING:
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server


_NO_OPTION = re.compile(r"the local driver has no option '(.*)'")


async def listing(server: Server, request: Request, exchange: Exchange) -> Reply:
    filters = Filters.of_json(request.query("filters"), FILTERS)
    return Reply({"Volumes": [shown(one) for one in selected(server.engine, filters)], "Warnings": None})


async def inspect(server: Server, request: Request, exchange: Exchange) -> Reply:
    return Reply(shown(need(server.engine, request.arguments["name"])))


class Wanted(body.Body):
    """The body of `POST /volumes/create`."""

    name: str | None = None
    driver: str | None = None
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    cluster_volume_spec: dict[str, Any] | None = None


async def create(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Create a volume, or return the existing one of this name."""
    payload, _ = body.shaped(await request.json(OBJECT) or {}, Wanted)
    name = payload.name or secrets.token_hex(32)
    if payload.driver not in (None, "", "local", "default"):
        raise HTTPError(
            404, f'create {name}: error looking up volume plugin {payload.driver}: plugin "{payload.driver}" not found'
        )
    check_name(name)
    if all(volume.spec.name != name for volume in server.engine.volumes()):
        spec = VolumeSpec(
            name=name,
            driver_opts=payload.driver_opts or {},
            labels=server.access.labels(payload.labels or {}),
            anonymous=not payload.name,
        )
        server.access.check_volume(spec)
        operation = CreateVolume(id=0, name=name, cause=CAUSE, volume=spec)
        try:
            await perform(server, group_of(spec.labels), operation)
        except HTTPError as error:
            if wrong := _NO_OPTION.search(error.message):
                raise BadRequest(f'create {name}: invalid option: "{wrong[1]}"') from None
            raise
    return Reply(shown(need(server.engine, name)), status=201)


async def update(server: Server, request: Request, exchange: Exchange) -> NoReturn:
    raise HTTPError(400, "volume update is only valid for cluster volumes, which need a swarm")


async def remove(server: Server, request: Request, exchange: Exchange) -> Reply:
    name = request.arguments["name"]
    try:
        record = need(server.engine, name)
    except Unknown:
        if request.flag("force"):
            return NO_CONTENT
        raise
    check_removable(server.engine, name)
    await perform(server, group_of(record.spec.labels), RemoveVolume(id=0, name=name, cause=CAUSE))
    return NO_CONTENT


async def prune(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Remove unused anonymous volumes, and with the filter `all` also named ones."""
    filters = Filters.of_json(request.query("filters"), PRUNE_FILTERS)
    everything = bool(filters.boolean("all")) or request.version < (1, 42)
    removed, freed = [], 0
    for record in unused(server.engine, filters, everything=everything):
        spec = record.spec
        size = tree_size(record.mountpoint)
        await perform(server, group_of(spec.labels), RemoveVolume(id=0, name=spec.name, cause=CAUSE))
        removed.append(spec.name)
        freed += size
    server.journal.pruned("volume", freed)
    return Reply({"VolumesDeleted": removed, "SpaceReclaimed": freed})
