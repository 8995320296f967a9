"""Container lifecycle: create, start, stop, restart, kill, pause, rename, wait, remove (Docker Engine API 1.55,
"Containers")."""

from __future__ import annotations

import contextlib
import re
import signal
from typing import TYPE_CHECKING, NoReturn

import anyio
import msgspec
from msgspec import structs

from composer.plan.labels import AUTOREMOVE, group_of
from composer.plan.operations import AwaitEnd, CreateVolume, Kill, Make, Pause, Remove, Rename, Start, Stop, Unpause
from composer.serve.docker import create_check
from composer.serve.docker.body import Create, HostConfig, shaped
from composer.serve.docker.create import specification
from composer.serve.docker.life_events import number_of
from composer.serve.docker.streaming import while_connected
from composer.serve.http.errors import BadRequest, HTTPError
from composer.serve.http.request import NO_CONTENT, NOT_MODIFIED, OBJECT, Reply
from composer.serve.supervised import CAUSE, perform
from composer.view import lookup
from composer.view.container_list import check_free, check_removable, checked_name, stopped
from composer.view.errors import Refusal
from composer.view.filters import Filters
from composer.view.images import need as need_image
from composer.view.random_names import free_name
from composer.view.start_errors import creation_words, words
from engine.filetree.size import tree_size
from engine.spec.image import for_platform
from engine.spec.network import VolumeSpec
from engine.spec.state import Status

if TYPE_CHECKING:
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server
    from engine.spec.image import ImageRecord
    from engine.spec.state import ContainerRecord

CONDITIONS = ("not-running", "next-exit", "removed")


async def create(server: Server, request: Request, exchange: Exchange) -> Reply:
    raw = await request.json(OBJECT)
    if raw is None:
        raise BadRequest("invalid JSON: got EOF while reading request body")
    payload, unknown = shaped(raw, Create)
    name = checked_name(request.query("name")) if request.query("name") else free_name(server.engine)
    if not (payload.image or payload.cmd or payload.entrypoint):
        raise BadRequest("config cannot be empty in order to create a container")
    image = _image(server, payload.image or "", request.query("platform"))
    await anyio.to_thread.run_sync(server.engine.admit, payload.image or "")
    spec = specification(name, payload, image)
    host = payload.host_config or HostConfig()
    spec = structs.replace(spec, labels=server.access.labels(spec.labels))
    server.access.check_container(spec, server.engine)
    create_check.check_named(server.engine, spec, host)
    spec = create_check.with_ids(server.engine, spec)
    check_free(server.engine, name)
    if host.auto_remove:
        spec = structs.replace(spec, labels={**spec.labels, AUTOREMOVE: "true"})
    known = {volume.spec.name for volume in server.engine.volumes()}
    volumes = dict.fromkeys(m.source for m in spec.mounts if m.type == "volume" and m.source and m.source not in known)
    operations = [
        CreateVolume(id=position, name=volume, cause=CAUSE, volume=VolumeSpec(name=volume))
        for position, volume in enumerate(volumes)
    ]
    make = Make(id=len(operations), name=name, cause=CAUSE, spec=spec, after=tuple(range(len(operations))))
    try:
        with anyio.CancelScope(shield=True):
            end = await perform(server, group_of(spec.labels), *operations, make)
    except HTTPError as error:
        if error.status == 404 and (absent := re.search(r"no such network: (\S+)", error.message)):
            raise HTTPError(404, f"failed to set up container networking: network {absent[1]} not found") from None
        if error.status == 409 and server.access.project:  # the holder of the name is not the project's
            raise HTTPError(409, f'Conflict. The container name "/{name}" is already in use.') from None
        raise HTTPError(error.status, creation_words(error.message, name=name, added=spec.cap_add)) from None
    warnings = [*create_check.warnings(host), *(f"{field} is not known and was ignored" for field in unknown)]
    return Reply({"Id": end.container_id, "Warnings": warnings}, status=201)


def _image(server: Server, name: str, platform: str) -> ImageRecord:
    """The image, for a platform if one is given. Refusal, EngineError; HTTPError 404 if it is for another platform."""
    image = need_image(server.engine, name)
    if not platform:
        return image
    wanted = server.engine.image(for_platform(name, platform))
    if wanted is None:
        own = "/".join(filter(None, (image.os, image.architecture, image.variant)))
        raise HTTPError(
            404,
            f"image with reference {name} was found but its platform ({own}) does not match the specified platform "
            f"({platform})",
        )
    return wanted


def _named(server: Server, request: Request) -> ContainerRecord:
    return lookup.container(server.engine, request.arguments["id"])


EMPTY_BODY = 7
"""Bytes of a body that start ignores, as in Docker: old clients send null or an empty object."""


async def start(server: Server, request: Request, exchange: Exchange) -> Reply:
    if request.length is None or request.length > EMPTY_BODY:
        raise BadRequest(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"
        )
    record = _named(server, request)
    if record.state.status is Status.PAUSED:
        raise HTTPError(409, "cannot start a paused container, try unpause instead")
    if record.state.status.alive:
        return NOT_MODIFIED
    operation = Start(id=0, name=record.spec.name, cause=CAUSE, container_id=record.id)
    try:
        await perform(server, record.group, operation, attach=server.waiting.attach_to(record.id))
    except HTTPError as error:
        if "is already running" in error.message:  # another client was faster
            return NOT_MODIFIED
        await _never_started(server, record)
        message = words(error.message, name=record.spec.name, endpoint=record.id)
        raise HTTPError(error.status, message) from None
    return NO_CONTENT


async def _never_started(server: Server, record: ContainerRecord) -> None:
    """Handle a failed first start: release waiting clients, and remove the container if it is to be removed at exit."""
    server.waiting.fail(record.id)
    if record.spec.labels.get(AUTOREMOVE):
        removal = Remove(id=0, name=record.spec.name, cause=CAUSE, container_id=record.id, volumes=True, force=True)
        with anyio.CancelScope(shield=True), contextlib.suppress(HTTPError):
            await perform(server, record.group, removal)


def _stop(record: ContainerRecord, request: Request) -> Stop:
    seconds, wanted = request.number("t"), request.query("signal")
    if wanted:
        create_check.check_signal(wanted)
    return Stop(
        id=0,
        name=record.spec.name,
        cause=CAUSE,
        container_id=record.id,
        timeout=None if seconds is None else float("inf") if seconds < 0 else float(seconds),
        signal=wanted,
    )


async def stop(server: Server, request: Request, exchange: Exchange) -> Reply:
    record = _named(server, request)
    if not record.state.status.alive and record.state.status is not Status.RESTARTING:
        return NOT_MODIFIED
    operation = _stop(record, request)
    if record.state.status.alive:
        server.observer.will_stop(record, operation.signal)
    await perform(server, record.group, operation)
    return NO_CONTENT


async def restart(server: Server, request: Request, exchange: Exchange) -> Reply:
    record = _named(server, request)
    again = Start(id=1, name=record.spec.name, cause=CAUSE, container_id=record.id, after=(0,))
    if record.state.status.up:
        operation = _stop(record, request)
        if record.state.status.alive:
            server.observer.will_stop(record, operation.signal)
        await perform(server, record.group, operation, again)
    else:
        await perform(server, record.group, structs.replace(again, id=0, after=()))
    server.journal.container("restart", record)
    return NO_CONTENT


async def kill(server: Server, request: Request, exchange: Exchange) -> Reply:
    try:
        record = _named(server, request)
        wanted = request.query("signal") or "SIGKILL"
        if re.fullmatch("[0-9]+", wanted) and (len(wanted) > 9 or int(wanted) >= signal.NSIG):
            raise BadRequest(f"the linux daemon does not support signal {wanted}")
        create_check.check_signal(wanted)
        if not record.state.status.alive:
            raise HTTPError(409, f"container {record.id} is not running")
    except (HTTPError, Refusal) as error:
        raise HTTPError(error.status, f"cannot kill container: {request.arguments['id']}: {error}") from None
    server.observer.will_kill(record, number_of(wanted))
    await perform(
        server, record.group, Kill(id=0, name=record.spec.name, cause=CAUSE, container_id=record.id, signal=wanted)
    )
    return NO_CONTENT


async def pause(server: Server, request: Request, exchange: Exchange) -> Reply:
    record = _named(server, request)
    if record.state.status is Status.PAUSED:
        raise HTTPError(409, f"Container {record.id} is already paused")
    if record.state.status is not Status.RUNNING:
        raise HTTPError(409, f"container {record.id} is not running")
    await perform(server, record.group, Pause(id=0, name=record.spec.name, cause=CAUSE, container_id=record.id))
    return NO_CONTENT


async def unpause(server: Server, request: Request, exchange: Exchange) -> Reply:
    record = _named(server, request)
    if record.state.status is not Status.PAUSED:
        raise HTTPError(409, f"Container {record.id} is not paused")
    await perform(server, record.group, Unpause(id=0, name=record.spec.name, cause=CAUSE, container_id=record.id))
    return NO_CONTENT


async def rename(server: Server, request: Request, exchange: Exchange) -> Reply:
    record = _named(server, request)
    if not request.query("name"):
        raise BadRequest("Neither old nor new names may be empty")
    name = request.query("name").removeprefix("/")
    if name == record.spec.name:
        raise BadRequest("Renaming a container with the same name as its current name")
    try:
        check_free(server.engine, f"/{name}")
    except Refusal as error:
        raise HTTPError(error.status, f"Error when allocating new name: {error}") from None
    await perform(server, record.group, Rename(id=0, name=name, cause=CAUSE, container_id=record.id))
    return NO_CONTENT


async def remove(server: Server, request: Request, exchange: Exchange) -> Reply:
    if request.flag("link"):
        _refuse_unlink(server, request.arguments["id"])
    record = _named(server, request)
    force = request.flag("force")
    if not force:
        check_removable(record, request.arguments["id"])
    operation = Remove(
        id=0, name=record.spec.name, cause=CAUSE, container_id=record.id, volumes=request.flag("v"), force=force
    )
    if record.state.status.alive:
        server.observer.will_kill(record, signal.SIGKILL)
    await perform(server, record.group, operation)
    return NO_CONTENT


def _refuse_unlink(server: Server, path: str) -> NoReturn:
    """Refuse to remove the link `container/alias`. Raises HTTPError 400, 404, 409."""
    name, slash, alias = path.strip("/").partition("/")
    record = lookup.container(server.engine, name)
    if not slash:
        raise HTTPError(409, "Conflict, cannot remove the default link name of the container")
    if alias not in {known for _, known in record.spec.links}:
        raise HTTPError(404, f"No such container: {path}")
    raise BadRequest(f"link {path} cannot be removed: links of the default bridge end with their container")


async def wait(server: Server, request: Request, exchange: Exchange) -> None:
    """Register with the supervisor, send the headers, and send the exit code once the condition holds."""
    record = _named(server, request)
    condition = request.query("condition") or "not-running"
    if condition not in CONDITIONS:
        raise BadRequest(f'invalid condition: "{condition}"')
    operation = AwaitEnd(id=0, name=record.spec.name, cause=CAUSE, container_id=record.id, condition=condition)

    async def begun() -> None:
        await exchange.begin(200, {"Content-Type": "application/json"})

    async with while_connected(exchange):
        end = await perform(server, record.group, operation, begun=begun)
        await exchange.send(msgspec.json.encode({"StatusCode": end.exit_code}) + b"\n")


async def prune(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Remove the containers that are not running."""
    filters = Filters.of_json(request.query("filters"), ("label", "label!", "until"))
    removed, freed = [], 0
    for record in stopped(server.engine, filters):
        freed += tree_size(f"{server.engine.folder(record.group, record.id)}/upper")
        await perform(server, record.group, Remove(id=0, name=record.spec.name, cause=CAUSE, container_id=record.id))
        removed.append(record.id)
    server.journal.pruned("container", freed)
    return Reply({"ContainersDeleted": removed or None, "SpaceReclaimed": freed})
