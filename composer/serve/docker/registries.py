"""Registries: checking credentials and inspecting images there (Docker Engine API 1.55, SystemAuth,
DistributionInspect)."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import msgspec
from anyio import to_thread

from composer.serve.docker import body
from composer.serve.http.errors import BadRequest, HTTPError
from composer.serve.http.request import OBJECT, Reply
from composer.view.images import familiar
from engine.errors import NotFound, RegistryError
from engine.spec.credentials import Credentials
from engine.vocabulary import DOCKER_HUB, HUB_HOSTS

if TYPE_CHECKING:
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server

HEADER = "x-registry-auth"


class Auth(body.Body, rename="lower"):
    """AuthConfig: the header X-Registry-Auth, and the body of `POST /auth`."""

    username: str | None = None
    password: str | None = None
    auth: str | None = None
    email: str | None = None
    serveraddress: str | None = None
    identitytoken: str | None = None
    registrytoken: str | None = None


def several(request: Request) -> dict[str, Credentials]:
    """The credentials for each registry (host[:port]) in a build request (X-Registry-Config). Raises BadRequest."""
    raw = _header(request, "x-registry-config")
    if not isinstance(raw, dict):
        raise BadRequest("invalid X-Registry-Config header: it must be an object")
    found = {host_of(str(key)): _credentials(body.shaped(value or {}, Auth)[0]) for key, value in raw.items()}
    return {host: one for host, one in found.items() if one is not None}


def host_of(key: str) -> str:
    """The registry for a key of the client's configuration; Docker Hub's key is a legacy URL."""
    host = key.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DOCKER_HUB if host in HUB_HOSTS else host


def _header(request: Request, name: str) -> object:
    text = request.headers.get(name, "")
    if not text:
        return {}
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise BadRequest(f"invalid {name.title()} header: it must be JSON in base64url") from None


def given(request: Request) -> Credentials | None:
    """The credentials in a request; None if there are none: then the stored credentials of the server's user apply.
    Raises BadRequest."""
    return _credentials(body.shaped(_header(request, HEADER) or {}, Auth)[0])


def _credentials(payload: Auth) -> Credentials | None:
    if payload.registrytoken:
        raise BadRequest("registrytoken is not supported: give a user name with a password, or an identitytoken")
    username, password = payload.username or "", payload.password or ""
    if payload.auth and not username:
        try:
            username, _, password = base64.b64decode(payload.auth).decode().partition(":")
        except (binascii.Error, ValueError):
            raise BadRequest("invalid auth: it must be user:password in base64") from None
    found = Credentials(username, password, payload.identitytoken or "")
    return None if found == Credentials() else found


async def auth(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Check credentials at their registry. Storing them is up to the client."""
    payload, _ = body.shaped(await request.json(OBJECT) or {}, Auth)
    credentials = _credentials(payload) or Credentials()
    try:
        await to_thread.run_sync(lambda: server.open_engine().check_login(payload.serveraddress or "", credentials))
    except RegistryError as error:
        if error.status in (401, 403):
            raise HTTPError(401, error.message) from None
        raise
    return Reply({"IdentityToken": "", "Status": "Login Succeeded"})


async def distribution(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Describe an image in a registry."""
    name, credentials = request.arguments["name"], given(request)
    try:
        found = await to_thread.run_sync(lambda: server.open_engine().remote_image(name, given=credentials))
    except NotFound:
        raise HTTPError(404, f"manifest for {familiar(name)} not found: manifest unknown: manifest unknown") from None
    platforms = [
        {"architecture": architecture, "os": system, **({"variant": variant} if variant else {})}
        for system, architecture, variant in found.platforms
    ]
    descriptor = {"mediaType": found.media_type, "digest": found.digest, "size": found.size}
    return Reply({"Descriptor": descriptor, "Platforms": platforms})
