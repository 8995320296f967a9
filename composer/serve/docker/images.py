"""Listing, inspecting, tagging and removing images (Docker Engine API 1.55, "Images")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import to_thread

from composer.serve.http.errors import BadRequest
from composer.serve.http.request import Reply
from composer.view import images
from composer.view.filters import Filters
from composer.view.images import familiar, need

if TYPE_CHECKING:
    from composer.serve.http.connection import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server


async def listing(server: Server, request: Request, exchange: Exchange) -> Reply:
    filters = Filters.of_json(request.query("filters"), images.FILTERS)
    used = images.users(server.engine)
    names = filters.get("reference")
    return Reply([images.listed(image, used[image.id], names) for image in images.selected(server.engine, filters)])


async def inspect(server: Server, request: Request, exchange: Exchange) -> Reply:
    image = need(server.engine, request.arguments["name"])
    return Reply(images.inspected(image, server.engine.image_details(image.id)))


async def history(server: Server, request: Request, exchange: Exchange) -> Reply:
    return Reply(images.history(server.engine, need(server.engine, request.arguments["name"])))


async def attestations(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Answer with no attestations: this engine stores none."""
    need(server.engine, request.arguments["name"])
    return Reply([])


async def tag(server: Server, request: Request, exchange: Exchange) -> Reply:
    image = need(server.engine, request.arguments["name"])
    name, version = request.query("repo"), request.query("tag")
    if not name:
        raise BadRequest("invalid reference format")
    tagged = f"{name}:{version}" if version else name
    server.engine.tag_image(image.id, tagged)
    server.journal.image("tag", image.id, image.config.labels, name=familiar(tagged))
    return Reply(status=201)


async def remove(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Untag an image, and delete it with its last tag. Raises InUse while a container uses it."""
    name, force = request.arguments["name"], request.flag("force")
    image = need(server.engine, name)
    images.check_removable(server.engine, image, name, force=force)

    def delete() -> list[str]:
        return server.open_engine().remove_image(name, force=force)

    lines = [line.partition(": ") for line in await to_thread.run_sync(delete)]
    for kind, _, _ in lines:
        action = {"Untagged": "untag", "Deleted": "delete"}.get(kind)
        if action:
            server.journal.image(action, image.id, None if action == "delete" else image.config.labels)
    return Reply([{kind: familiar(what)} for kind, _, what in lines])
