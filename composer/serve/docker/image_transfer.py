"""Pulling, pushing, importing, saving and loading images (Docker Engine API 1.55, "Images").

Progress has Docker's format: a line of JSON for each step of each layer, with the layer's short digest as id.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from composer.serve.docker.images import platform_of
from composer.serve.docker.registries import given
from composer.serve.docker.streaming import Reporter, download, upload
from composer.serve.http.errors import BadRequest, HTTPError
from composer.serve.http.request import Reply
from composer.view.filters import Filters
from composer.view.images import PRUNE_FILTERS, familiar, need, unused
from engine.errors import ImageError, NotFound, OperationFailed

if TYPE_CHECKING:
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server
    from engine.spec.credentials import Credentials
    from engine.spec.image import ImageRecord

_BAR = 50
"""The width of a progress bar."""


async def create(server: Server, request: Request, exchange: Exchange) -> Reply | None:
    """Pull (`fromImage`), or import the body or a local archive (`fromSrc`)."""
    name, tag = request.query("fromImage"), request.query("tag")
    if not name:
        return await _import(server, request, exchange)
    credentials, reporter = given(request), Reporter(exchange)
    if tag or "@" in name or ":" in name.rpartition("/")[2]:
        joined = f"{name}@{tag}" if ":" in tag else f"{name}:{tag}" if tag else name
        await _pull(server, request, reporter, joined, credentials)
        return None
    # Without a tag, pull all tags.
    found = await reporter.run(lambda: server.open_engine().remote_tags(name, given=credentials))
    for one in found or ():
        if not await _pull(server, request, reporter, f"{name}:{one}", credentials):
            break
    return None


def familiar_path(shown: str) -> str:
    """A familiar name without its tag or digest."""
    plain = shown.partition("@")[0]
    return plain.rpartition(":")[0] if ":" in plain.rpartition("/")[2] else plain


def _repository(shown: str) -> str:
    """The path of a familiar name within its registry."""
    host, slash, rest = shown.partition("@")[0].partition("/")
    if not slash:
        return f"library/{host.partition(':')[0]}"
    path = rest if "." in host or ":" in host or host == "localhost" else f"{host}/{rest}"
    return path.partition(":")[0]


async def _pull(
    server: Server, request: Request, reporter: Reporter, joined: str, credentials: Credentials | None
) -> bool:
    """Pull one image and report the progress. Returns whether it exists."""
    shown = familiar(joined)
    digest = "@" in shown.rpartition("/")[2]
    label = shown.rpartition("@" if digest else ":")[2] if digest or ":" in shown.rpartition("/")[2] else "latest"
    path = _repository(shown)
    before = server.engine.image(joined)

    def pull() -> ImageRecord:
        begun = False

        def progress(event: dict[str, object]) -> None:
            nonlocal begun
            if not begun:
                begun = True
                reporter.report({"status": f"Pulling from {path}", "id": label})
            reporter.report(line_of(event))

        try:
            platform = platform_of(request)
            return server.open_engine().pull(joined, platform=platform, progress=progress, given=credentials)
        except NotFound as error:
            if "for platform" in error.message:
                raise HTTPError(404, f"{error.message}. {error.hint}") from None
            tagged = joined if digest or ":" in shown.rpartition("/")[2] else f"{joined}:latest"
            raise HTTPError(404, f"manifest for {tagged} not found: manifest unknown: manifest unknown") from None

    if (record := await reporter.run(pull)) is None:
        return False
    server.journal.add("image", "pull", shown, {**record.config.labels, "name": familiar_path(shown)})
    for text in record.digests:
        if familiar(text).startswith(f"{shown.partition('@')[0].rpartition(':')[0] or shown}@") or digest:
            await reporter.send({"status": f"Digest: {text.rpartition('@')[2]}"})
            break
    outcome = "Image is up to date for" if before and before.id == record.id else "Downloaded newer image for"
    full = shown if digest or ":" in shown.rpartition("/")[2] else f"{shown}:latest"
    await reporter.send({"status": f"Status: {outcome} {full}"})
    return True


def line_of(event: dict[str, object]) -> dict[str, object]:
    """The engine's progress event in Docker's format."""
    line: dict[str, Any] = {"status": event["status"], "progressDetail": {}, "id": event["id"]}
    current, total = event.get("current"), event.get("total")
    if (
        isinstance(current, int)
        and isinstance(total, int)
        and event["status"] in ("Downloading", "Extracting", "Pushing")
    ):
        line["progressDetail"] = {"current": current, "total": total}
        filled = min(current * _BAR // total, _BAR) if total else 0
        line["progress"] = f"[{'=' * filled}>{' ' * (_BAR - filled)}] {current}B/{total}B"
    return line


async def _import(server: Server, request: Request, exchange: Exchange) -> Reply | None:
    source = request.query("fromSrc")
    if source != "-":
        raise BadRequest("fromSrc: only the request's body (-) can be imported here: send the archive with the request")
    name, tag = request.query("repo"), request.query("tag")
    reference = f"{name}:{tag}" if name and tag else name
    message, changes = request.query("message"), request.queries("changes")

    def work(fd: int) -> ImageRecord:
        return server.open_engine().import_image(
            fd, reference, changes=changes, message=message, platform=request.query("platform")
        )

    record = await upload(request, work)
    for name in record.tags:
        server.journal.image("tag", record.id, record.config.labels, name=familiar(name))
    server.journal.image("import", record.id, record.config.labels)
    await Reporter(exchange).send({"status": record.id})
    return None


async def push(server: Server, request: Request, exchange: Exchange) -> None:
    name, tag, wanted_platform = request.arguments["name"], request.query("tag"), platform_of(request)
    credentials, reporter = given(request), Reporter(exchange)
    full = name if name.partition("/")[0].count(".") or ":" in name.partition("/")[0] else f"docker.io/{name}"
    await reporter.send({"status": f"The push refers to repository [{full}]"})
    tags = [
        one
        for image in server.engine.images()
        for one in image.tags
        if familiar(one).rpartition(":")[0] == familiar(name)
    ]
    wanted = [f"{name}:{tag}"] if tag else [familiar(one) for one in tags]
    if not wanted or (tag and server.engine.image(wanted[0]) is None):
        text = f"An image does not exist locally with the tag: {familiar(name)}"
        await reporter.send({"errorDetail": {"message": text}, "error": text})
        return

    def progress(event: dict[str, object]) -> None:
        status = str(event["status"])
        if status.startswith("digest: "):
            version = str(event["id"]).rpartition(":")[2]
            reporter.report({"status": f"{version}: {status}"})
            _, digest, _, size = status.split()
            reporter.report({"progressDetail": {}, "aux": {"Tag": version, "Digest": digest, "Size": int(size)}})
        else:
            reporter.report(line_of(event))

    for one in wanted:
        send = functools.partial(
            server.open_engine().push, one, progress=progress, given=credentials, platform=wanted_platform
        )
        await reporter.run(send)
        if not reporter.failed and (image := server.engine.image(one)) is not None:
            attributes = {**image.config.labels, "name": familiar_path(familiar(one))}
            server.journal.add("image", "push", familiar(one), attributes)


async def save(server: Server, request: Request, exchange: Exchange) -> None:
    names = [request.arguments["name"]] if "name" in request.arguments else request.queries("names")
    if not names:
        raise BadRequest("no images were named")
    wanted = platform_of(request)
    for name in names:
        if server.engine.image(name) is None:
            raise HTTPError(404, f"No such image: {name}")
        need(server.engine, name, wanted)
    platforms = [wanted] if wanted else []
    await download(
        exchange, "application/x-tar", lambda fd: server.open_engine().save_images(names, fd, platforms=platforms)
    )
    for name in names:
        if (image := server.engine.image(name)) is not None:
            server.journal.image("save", image.id, image.config.labels)


async def load(server: Server, request: Request, exchange: Exchange) -> None:
    """Load images. As in Docker, a failure is a line of the answer."""
    reporter = Reporter(exchange)
    records: list[ImageRecord] = []
    wanted = platform_of(request)
    platforms = [wanted] if wanted else []
    try:
        records = await upload(request, lambda fd: server.open_engine().load_images(fd, platforms=platforms))
    except (ImageError, NotFound, OperationFailed) as error:
        await reporter.send({"errorDetail": {"message": error.message}, "error": error.message})
    for record in records:
        server.journal.image("load", record.id, record.config.labels)
        for tag in record.tags or ("",):
            text = f"Loaded image: {familiar(tag)}" if tag else f"Loaded image ID: {record.id}"
            await reporter.send({"stream": f"{text}\n"})


async def prune(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Remove images without a tag, or with the filter `dangling=false` all unused images."""
    filters = Filters.of_json(request.query("filters"), PRUNE_FILTERS)
    removable = {image.id: image for image in unused(server.engine, filters)}
    freed = await to_thread.run_sync(lambda: server.open_engine().prune_images(list(removable)))
    deleted = []
    for one in freed.images:
        deleted += [{"Untagged": familiar(tag)} for tag in (removable[one].tags if one in removable else ())]
        deleted.append({"Deleted": one})
        server.journal.image("delete", one)
    server.journal.pruned("image", freed.size)
    return Reply({"ImagesDeleted": deleted or None, "SpaceReclaimed": freed.size})


async def search(server: Server, request: Request, exchange: Exchange) -> Reply:
    raise HTTPError(500, "searching Docker Hub is not supported")
