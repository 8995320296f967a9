"""Images listed and inspected (Docker Engine API 1.55, "Images")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyio import to_thread

from composer.serve.docker import found
from composer.serve.docker.filters import Filters
from composer.serve.docker.inspect import healthcheck
from composer.serve.docker.text import moment, timestamp
from composer.serve.http.errors import BadRequest, HTTPError
from composer.serve.http.request import Reply

if TYPE_CHECKING:
    from composer.run.port import Engine
    from composer.serve.http.connection import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server
    from engine.spec.image import ImageConfig, ImageRecord

FILTERS = ("before", "dangling", "label", "label!", "reference", "since", "until")
HUB = ("docker.io/library/", "docker.io/")


def familiar(name: str) -> str:
    """A reference as people write it: without Docker Hub's host and its `library`."""
    for prefix in HUB:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def need(engine: Engine, name: str) -> ImageRecord:
    """HTTPError 404 in Docker's words."""
    record = engine.image(name)
    if record is None:
        last = name.rpartition("/")[2]
        tagged = name if ":" in last or "@" in last else f"{name}:latest"
        raise HTTPError(404, f"No such image: {tagged}")
    return record


async def listing(server: Server, request: Request, exchange: Exchange) -> Reply:
    engine = server.engine
    filters = Filters(request.query("filters"), FILTERS)
    dangling = filters.boolean("dangling")
    before = [need(engine, name).created_at for name in filters.get("before")]
    since = [need(engine, name).created_at for name in filters.get("since")]
    try:
        until = [moment(text) or 0.0 for text in filters.get("until")]
    except ValueError:
        raise BadRequest("invalid filter 'until'") from None
    used: dict[str, int] = {}
    for record in found.every(engine):
        used[record.spec.image] = used.get(record.spec.image, 0) + 1
    rows = []
    for image in sorted(engine.images(), key=lambda image: -image.created_at):
        tags = [familiar(tag) for tag in image.tags]
        if (
            (dangling is None or dangling == (not tags))
            and (
                not filters.get("reference")
                or any(_referenced(tag, one) for tag in tags for one in filters.get("reference"))
            )
            and filters.labels(image.config.labels)
            and (not filters.get("label!") or not filters.labels(image.config.labels, "label!"))
            and all(image.created_at < created for created in before)
            and all(image.created_at > created for created in since)
            and all(image.created_at < limit for limit in until)
        ):
            rows.append(listed(image, used.get(image.id, 0)))
    return Reply(rows)


def _referenced(tag: str, wanted: str) -> bool:
    """The filter `reference`: a name, with or without a tag, with `*` and `?`, as path.Match of Go has them."""
    from fnmatch import fnmatchcase

    name = tag.rpartition(":")[0] if ":" in tag.rpartition("/")[2] else tag
    return any(fnmatchcase(one, wanted) and one.count("/") == wanted.count("/") for one in (tag, name))


def listed(image: ImageRecord, containers: int) -> dict[str, Any]:
    return {
        "Containers": containers,
        "Created": int(image.created_at),
        "Id": image.id,
        "Labels": dict(image.config.labels) or None,
        "ParentId": "",
        "RepoDigests": [familiar(digest) for digest in image.digests],
        "RepoTags": [familiar(tag) for tag in image.tags],
        "SharedSize": -1,
        "Size": image.size,
    }


async def inspect(server: Server, request: Request, exchange: Exchange) -> Reply:
    image = need(server.engine, request.arguments["name"])
    details = server.engine.image_details(image.id)
    return Reply(
        {
            "Id": image.id,
            "RepoTags": [familiar(tag) for tag in image.tags],
            "RepoDigests": [familiar(digest) for digest in image.digests],
            "Parent": "",
            "Comment": details.comment,
            "Created": timestamp(image.created_at),
            "DockerVersion": "",
            "Author": details.author,
            "Architecture": image.architecture,
            **({"Variant": image.variant} if image.variant else {}),
            "Os": image.os,
            "Size": image.size,
            "GraphDriver": {"Name": "overlay2", "Data": None},
            "RootFS": {"Type": "layers", "Layers": list(details.diff_ids)},
            "Metadata": {"LastTagTime": timestamp(image.tagged_at)},
            "Config": config(image.config),
        }
    )


def config(image: ImageConfig) -> dict[str, Any]:
    """The execution part of an image's configuration (OCI image specification, config.md)."""
    found: dict[str, Any] = {
        "Cmd": list(image.command) or None,
        "Entrypoint": list(image.entrypoint) or None,
        "Env": list(image.environment) or None,
        "Labels": dict(image.labels) or None,
        "OnBuild": list(image.on_build) or None,
        "User": image.user,
        "Volumes": {path: {} for path in image.volumes} or None,
        "WorkingDir": image.working_dir,
    }
    if image.exposed_ports:
        found["ExposedPorts"] = {port: {} for port in image.exposed_ports}
    if image.stop_signal:
        found["StopSignal"] = image.stop_signal
    if image.shell:
        found["Shell"] = list(image.shell)
    if image.healthcheck is not None:
        found["Healthcheck"] = healthcheck(image.healthcheck)
    return found


async def history(server: Server, request: Request, exchange: Exchange) -> Reply:
    image = need(server.engine, request.arguments["name"])
    steps = server.engine.image_details(image.id).history
    rows = [
        {
            "Id": image.id if position == len(steps) - 1 else "<missing>",
            "Created": int(step.created_at),
            "CreatedBy": step.created_by,
            "Tags": [familiar(tag) for tag in image.tags] or None if position == len(steps) - 1 else None,
            "Size": step.size,
            "Comment": step.comment,
        }
        for position, step in enumerate(steps)
    ]
    return Reply(rows[::-1])


async def tag(server: Server, request: Request, exchange: Exchange) -> Reply:
    image = need(server.engine, request.arguments["name"])
    name, version = request.query("repo"), request.query("tag")
    if not name:
        raise BadRequest("invalid reference format")
    tagged = f"{name}:{version}" if version else name
    server.engine.tag_image(image.id, tagged)
    server.journal.add("image", "tag", image.id, {**image.config.labels, "name": familiar(tagged)})
    return Reply(status=201)


async def remove(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Untag an image, and delete it with its last tag. HTTPError 409 while a container uses it."""
    name, force = request.arguments["name"], request.flag("force")
    image = need(server.engine, name)
    by_id = image.id.removeprefix("sha256:").startswith(name.removeprefix("sha256:"))
    users = [record for record in found.every(server.engine) if record.spec.image == image.id]
    running = [record for record in users if record.state.status.alive]
    if by_id and len(image.tags) > 1 and not force:
        raise _conflict(name, "must be forced", "image is referenced in multiple repositories")
    if users and (by_id or len(image.tags) < 2) and (running or not force):
        record = (running or users)[0]
        if running:
            raise _conflict(name, "cannot be forced", f"image is being used by running container {record.id[:12]}")
        raise _conflict(name, "must be forced", f"image is being used by stopped container {record.id[:12]}")

    def delete() -> list[str]:
        return server.open_engine().remove_image(name, force=force)

    lines = [line.partition(": ") for line in await to_thread.run_sync(delete)]
    for kind, _, _ in lines:
        action = {"Untagged": "untag", "Deleted": "delete"}.get(kind)
        if action:
            server.journal.add("image", action, image.id, {**image.config.labels, "name": image.id})
    return Reply([{kind: familiar(what)} for kind, _, what in lines])


def _conflict(name: str, how: str, why: str) -> HTTPError:
    return HTTPError(
        409,
        f"conflict: unable to delete {name.removeprefix('sha256:')[:12] if len(name) > 60 else name} ({how}) - {why}",
    )
