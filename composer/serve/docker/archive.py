"""Copying files into and out of containers, and committing containers (Docker Engine API 1.55, "Containers",
ImageCommit)."""

from __future__ import annotations

import base64
import re
import stat
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
from anyio import to_thread

from composer.plan.operations import Pause, Unpause
from composer.serve.docker.body import Create, shaped
from composer.serve.docker.committed import instructions
from composer.serve.docker.streaming import download, upload
from composer.serve.http.errors import BadRequest, HTTPError
from composer.serve.http.request import OBJECT, Reply
from composer.serve.supervised import CAUSE, perform
from composer.view import lookup
from composer.view.api_format import timestamp
from composer.view.images import familiar
from engine.errors import EngineError, NotFound
from engine.spec.state import Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server
    from engine.spec.image import ImageRecord
    from engine.spec.state import ContainerRecord
    from engine.spec.stream import PathStatus

_NO_CHANGE = re.compile(r"--change:\d+: (\w+) cannot be a change")
KINDS = {"modified": 0, "added": 1, "deleted": 2}
TAR = "application/x-tar"
STATUS = "X-Docker-Container-Path-Stat"
_GO_TYPES = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
}
_GO_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}
"""Bits of Go's io/fs.FileMode, which the header uses."""


def _header(status: PathStatus) -> dict[str, str]:
    mode = stat.S_IMODE(status.mode) & 0o777 | _GO_TYPES.get(stat.S_IFMT(status.mode), 0)
    for bit, go in _GO_BITS.items():
        mode |= go if status.mode & bit else 0
    value = {
        "name": status.name,
        "size": status.size,
        "mode": mode,
        "mtime": timestamp(status.modified_at),
        "linkTarget": status.target,
    }
    return {STATUS: base64.b64encode(msgspec.json.encode(value)).decode()}


async def _find(server: Server, request: Request) -> tuple[ContainerRecord, str, PathStatus]:
    """The container, the path, and its status. Raises HTTPError 400 without a path, 404 if it does not exist."""
    record, path = lookup.container(server.engine, request.arguments["id"]), request.query("path")
    if not path:
        raise BadRequest("bad parameter: path cannot be empty")

    def status() -> PathStatus:
        return server.open_engine().path_status(record.group, record.id, path)

    absent = HTTPError(404, f"Could not find the file {path} in container {request.arguments['id']}")
    try:
        there = await to_thread.run_sync(status)
    except NotFound:
        raise absent from None
    if path.endswith(("/", "/.")) and not (stat.S_ISDIR(there.mode) or stat.S_ISLNK(there.mode)):
        raise absent  # the path asks for a directory
    return record, path, there


async def status(server: Server, request: Request, exchange: Exchange) -> Reply:
    _, _, there = await _find(server, request)
    return Reply(headers=_header(there))


async def get(server: Server, request: Request, exchange: Exchange) -> None:
    record, path, there = await _find(server, request)

    def work(fd: int) -> None:
        server.open_engine().copy_out(record.group, record.id, path, fd)

    server.journal.container("archive-path", record)
    await download(exchange, TAR, work, _header(there))


async def put(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Unpack the body into a directory of the container. Owners are the archive's, or with `copyUIDGID` the container's
    user."""
    record, path, there = await _find(server, request)
    if not stat.S_ISDIR(there.mode) and not (stat.S_ISLNK(there.mode) and path.endswith("/")):
        raise BadRequest("extraction point is not a directory")

    def work(fd: int) -> None:
        server.open_engine().copy_in(record.group, record.id, path, fd, as_user=request.flag("copyUIDGID"))

    await upload(request, work)
    server.journal.container("extract-to-dir", record)
    return Reply()


async def changes(server: Server, request: Request, exchange: Exchange) -> Reply:
    """The container's changes to its image's files; null for none, as in Docker."""
    record = lookup.container(server.engine, request.arguments["id"])
    rows = await to_thread.run_sync(lambda: server.open_engine().changes(record.group, record.id))
    return Reply([{"Kind": KINDS[kind], "Path": path} for path, kind in rows], content=None if rows else b"null\n")


async def export(server: Server, request: Request, exchange: Exchange) -> None:
    record = lookup.container(server.engine, request.arguments["id"])
    server.journal.container("export", record)
    await download(
        exchange, "application/octet-stream", lambda fd: server.open_engine().export(record.group, record.id, fd)
    )


async def commit(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Create an image from a container, with `changes` and the body's configuration applied. The container is paused
    meanwhile unless `pause` is false."""
    record = lookup.container(server.engine, request.query("container"))
    name, tag = request.query("repo"), request.query("tag")
    changes = [line for text in request.queries("changes") for line in text.splitlines() if line.strip()]
    raw = await request.json(OBJECT)
    if raw:
        changes = [*instructions(shaped(raw, Create)[0]), *changes]

    def work() -> ImageRecord:
        reference = f"{name}:{tag}" if name and tag else name
        engine = server.open_engine()
        try:
            return engine.commit(
                record.group,
                record.id,
                reference,
                author=request.query("author"),
                message=request.query("comment"),
                changes=changes,
            )
        except EngineError as error:
            if wrong := _NO_CHANGE.match(error.message):
                raise BadRequest(f"{wrong[1]} is not a valid change command") from None
            raise

    async with _paused(server, record) if request.flag("pause", default=True) else nullcontext():
        image = await to_thread.run_sync(work)
        _report_commit(server, request, record, image)
    return Reply({"Id": image.id}, status=201)


@asynccontextmanager
async def _paused(server: Server, record: ContainerRecord) -> AsyncIterator[None]:
    """Pause the container for the block if it is running; it may exit meanwhile."""
    about: dict[str, Any] = {"id": 0, "name": record.spec.name, "cause": CAUSE, "container_id": record.id}
    if record.state.status is not Status.RUNNING or not await _unless_ended(server, record, Pause(**about)):
        yield
        return
    server.observer.look(record.group)
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await _unless_ended(server, record, Unpause(**about))


async def _unless_ended(server: Server, record: ContainerRecord, operation: Pause | Unpause) -> bool:
    """Perform the operation; False if the container's state no longer admits it. Raises HTTPError."""
    try:
        await perform(server, record.group, operation)
    except HTTPError as error:
        if error.status != 409:
            raise
        return False
    return True


def _report_commit(server: Server, request: Request, record: ContainerRecord, image: ImageRecord) -> None:
    name, tag = request.query("repo"), request.query("tag")
    server.journal.image("create", image.id, image.config.labels)
    shown = familiar(f"{name}:{tag or 'latest'}") if name else ""
    if name:
        server.journal.image("tag", image.id, image.config.labels, name=shown)
    server.journal.container("commit", record, comment=request.query("comment"), imageID=image.id, imageRef=shown)
