"""Listing, inspecting, tagging and removing images (Docker Engine API 1.55, "Images")."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from anyio import to_thread
from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import Decoder, encode

from composer.serve.http.errors import BadRequest
from composer.serve.http.request import Reply
from composer.view import images
from composer.view.filters import Filters
from composer.view.images import familiar, need
from engine.vocabulary import PREDICATE_TYPE, STATEMENT_TYPE

if TYPE_CHECKING:
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server


class _Platform(Struct):
    os: str
    architecture: str
    variant: str = ""


_decode_platform = Decoder(_Platform).decode


async def listing(server: Server, request: Request, exchange: Exchange) -> Reply:
    filters = Filters.of_json(request.query("filters"), images.FILTERS)
    used = images.users(server.engine)
    names = filters.get("reference")
    return Reply([images.listed(image, used[image.id], names) for image in images.selected(server.engine, filters)])


async def inspect(server: Server, request: Request, exchange: Exchange) -> Reply:
    image = need(server.engine, request.arguments["name"], platform_of(request))
    return Reply(images.inspected(image, server.engine.image_details(image.id)))


async def history(server: Server, request: Request, exchange: Exchange) -> Reply:
    return Reply(images.history(server.engine, need(server.engine, request.arguments["name"], platform_of(request))))


async def attestations(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Answer with the attestations of an image. Their subject is the image's id, because its manifest is created only
    by a push."""
    image = need(server.engine, request.arguments["name"], platform_of(request))
    kinds, whole = request.queries("type"), request.flag("statement")
    found = []
    for kind, predicate in server.engine.image_details(image.id).attestations:
        if kinds and kind not in kinds:
            continue
        subject = [{"name": "_", "digest": {"sha256": image.id.removeprefix("sha256:")}}]
        statement = {
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": kind,
            "subject": subject,
            "predicate": predicate,
        }
        data = encode(statement)
        descriptor = {
            "mediaType": STATEMENT_TYPE,
            "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
            "size": len(data),
            "annotations": {PREDICATE_TYPE: kind},
        }
        found.append({"Descriptor": descriptor, "PredicateType": kind, **({"Statement": statement} if whole else {})})
    return Reply(found)


def platform_of(request: Request) -> str:
    """The parameter `platform`, JSON or os/architecture; "" when there is none. Raises BadRequest."""
    texts = [text for text in request.queries("platform") if text]
    if len(texts) > 1:
        raise BadRequest("only one platform is supported")
    return _platform_text(next(iter(texts), ""))


def _platform_text(text: str) -> str:
    """A platform as os/architecture, of JSON or of that. Raises BadRequest."""
    if not text.startswith("{"):
        return text
    try:
        requested = _decode_platform(text.encode())
    except (ValidationError, DecodeError) as error:
        raise BadRequest(f"invalid platform: {error}") from None
    return "/".join(part for part in (requested.os, requested.architecture, requested.variant) if part)


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
    platforms = [_platform_text(text) for text in request.queries("platforms") if text]
    if not platforms:
        images.check_removable(server.engine, image, name, force=force)

    def delete() -> list[str]:
        return server.open_engine().remove_image(name, force=force, platforms=platforms)

    lines = [line.partition(": ") for line in await to_thread.run_sync(delete)]
    for kind, _, _ in lines:
        action = {"Untagged": "untag", "Deleted": "delete"}.get(kind)
        if action:
            server.journal.image(action, image.id, None if action == "delete" else image.config.labels)
    return Reply([{kind: familiar(target)} for kind, _, target in lines])
