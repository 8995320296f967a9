"""The operations: method and path → the function that answers, imported at its first use.

`{name}` is one segment of the path, `{name:path}` one or more, because image names contain slashes. The paths are those
of the Docker Engine API 1.55; docs/api.md lists which of them work, differ, or are refused.
"""

from __future__ import annotations

import posixpath
import re
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from composer.serve.http.errors import BadRequest, HTTPError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Reply, Request
    from composer.serve.server import Server

    Operation = Callable[[Server, Request, Exchange], Awaitable[Reply | None]]

OLDEST, NEWEST = (1, 24), (1, 55)

ROUTES: tuple[tuple[str, str, str], ...] = (
    ("GET", "/_ping", "system.ping"),
    ("HEAD", "/_ping", "system.ping"),
    ("GET", "/version", "system.version"),
    ("GET", "/info", "system.info"),
    ("GET", "/events", "events.events"),
    ("POST", "/build", "build.build"),
    ("POST", "/grpc", "buildkit.control.grpc"),
    ("POST", "/session", "buildkit.session.session"),
    ("GET", "/containers/json", "containers.listing"),
    ("GET", "/containers/{id}/json", "containers.inspect"),
    ("GET", "/containers/{id}/top", "containers.top"),
    ("GET", "/containers/{id}/changes", "archive.changes"),
    ("HEAD", "/containers/{id}/archive", "archive.status"),
    ("GET", "/containers/{id}/archive", "archive.get"),
    ("PUT", "/containers/{id}/archive", "archive.put"),
    ("GET", "/containers/{id}/export", "archive.export"),
    ("POST", "/commit", "archive.commit"),
    ("POST", "/containers/{id}/exec", "exec.create"),
    ("POST", "/exec/{id}/start", "exec.start"),
    ("POST", "/exec/{id}/resize", "exec.resize"),
    ("GET", "/exec/{id}/json", "exec.inspect"),
    ("POST", "/containers/{id}/attach", "attach.attach"),
    ("GET", "/containers/{id}/attach/ws", "attach.websocket"),
    ("POST", "/containers/{id}/resize", "attach.resize"),
    ("GET", "/containers/{id}/stats", "stats.stats"),
    ("GET", "/containers/{id}/logs", "logs.logs"),
    ("POST", "/containers/create", "lifecycle.create"),
    ("POST", "/containers/{id}/start", "lifecycle.start"),
    ("POST", "/containers/{id}/stop", "lifecycle.stop"),
    ("POST", "/containers/{id}/restart", "lifecycle.restart"),
    ("POST", "/containers/{id}/kill", "lifecycle.kill"),
    ("POST", "/containers/{id}/pause", "lifecycle.pause"),
    ("POST", "/containers/{id}/unpause", "lifecycle.unpause"),
    ("POST", "/containers/{id}/rename", "lifecycle.rename"),
    ("POST", "/containers/{id}/wait", "lifecycle.wait"),
    ("POST", "/containers/{id}/update", "update.update"),
    ("DELETE", "/containers/{id:path}", "lifecycle.remove"),
    ("POST", "/containers/prune", "lifecycle.prune"),
    ("GET", "/images/json", "images.listing"),
    ("POST", "/images/create", "image_transfer.create"),
    ("POST", "/images/load", "image_transfer.load"),
    ("POST", "/images/prune", "image_transfer.prune"),
    ("GET", "/images/get", "image_transfer.save"),
    ("GET", "/images/search", "image_transfer.search"),
    ("GET", "/images/{name:path}/get", "image_transfer.save"),
    ("POST", "/images/{name:path}/push", "image_transfer.push"),
    ("GET", "/images/{name:path}/json", "images.inspect"),
    ("GET", "/images/{name:path}/history", "images.history"),
    ("POST", "/images/{name:path}/tag", "images.tag"),
    ("DELETE", "/images/{name:path}", "images.remove"),
    ("GET", "/images/{name:path}/attestations", "images.attestations"),
    ("PUT", "/volumes/{name}", "volumes.update"),
    ("POST", "/networks/create", "network_changes.create"),
    ("POST", "/networks/prune", "network_changes.prune"),
    ("POST", "/networks/{id}/connect", "network_members.connect"),
    ("POST", "/networks/{id}/disconnect", "network_members.disconnect"),
    ("DELETE", "/networks/{id}", "network_changes.remove"),
    ("POST", "/volumes/create", "volumes.create"),
    ("POST", "/volumes/prune", "volumes.prune"),
    ("DELETE", "/volumes/{name}", "volumes.remove"),
    ("POST", "/swarm/leave", "swarm.leave"),
    ("POST", "/swarm/init", "swarm.enter"),
    ("POST", "/swarm/join", "swarm.enter"),
    *(
        (method, f"/{noun}{below}", "swarm.absent")
        for noun in ("swarm", "services", "nodes", "secrets", "configs", "tasks")
        for method, below in (
            ("GET", ""),
            ("GET", "/{name:path}"),
            ("POST", "/{name:path}"),
            ("DELETE", "/{name:path}"),
        )
    ),
    ("GET", "/plugins", "swarm.plugins"),
    ("GET", "/plugins/privileges", "swarm.no_plugins"),
    ("POST", "/plugins/pull", "swarm.no_plugins"),
    ("POST", "/plugins/create", "swarm.no_plugins"),
    ("GET", "/plugins/{name:path}/json", "swarm.plugin"),
    ("DELETE", "/plugins/{name:path}", "swarm.plugin"),
    *(
        ("POST", f"/plugins/{{name:path}}/{action}", "swarm.plugin")
        for action in ("enable", "disable", "upgrade", "push", "set")
    ),
    ("POST", "/auth", "registries.auth"),
    ("GET", "/distribution/{name:path}/json", "registries.distribution"),
    ("POST", "/build/prune", "build_cache.prune"),
    ("GET", "/system/df", "system.disk_usage"),
    ("GET", "/networks", "networks.listing"),
    ("GET", "/networks/{id}", "networks.inspect"),
    ("GET", "/volumes", "volumes.listing"),
    ("GET", "/volumes/{name}", "volumes.inspect"),
)
"""Method, path, and `module.function` below composer.serve.docker. The first match answers."""

_VERSION = re.compile(r"/v([0-9.]+)(?=/)")
_ARGUMENT = re.compile(r"\{(\w+)(:path)?\}")


@cache
def _compiled() -> tuple[tuple[str, re.Pattern[str], str], ...]:
    def pattern(path: str) -> re.Pattern[str]:
        parts = _ARGUMENT.split(path)
        text = "".join(
            re.escape(part) if i % 3 == 0 else f"(?P<{part}>{'.+' if parts[i + 1] else '[^/]+'})"
            for i, part in enumerate(parts)
            if i % 3 < 2
        )
        return re.compile(text)

    return tuple((method, pattern(path), target) for method, path, target in ROUTES)


def canonical(path: str) -> str:
    """The path without empty and dot segments, to which Docker redirects: clients that join an address that ends with a
    slash to a path rely on it."""
    if not path.startswith("/"):
        return path
    clean = "/" + posixpath.normpath(path).lstrip("/")
    return f"{clean}/" if path.endswith("/") and clean != "/" else clean


def version_of(path: str) -> tuple[str, tuple[int, int]]:
    """The path without its version, and the version, NEWEST by default. Raises BadRequest for an unsupported one."""
    found = _VERSION.match(path)
    if not found:
        return path, NEWEST
    name = found[1]
    requested = tuple(int(part) if 0 < len(part) < 10 else 0 for part in name.split("."))
    if requested > NEWEST:
        raise BadRequest(f"client version {name} is too new. Maximum supported API version is {NEWEST[0]}.{NEWEST[1]}")
    if requested < OLDEST:
        raise BadRequest(
            f"client version {name} is too old. Minimum supported API version is {OLDEST[0]}.{OLDEST[1]}, "
            "please upgrade your client to a newer version"
        )
    return path[found.end() :], (requested[0], requested[1])


def find(request: Request) -> str:
    """The target of the requested operation; stores the path's arguments in the request. Raises HTTPError 404."""
    if request.method == "OPTIONS":
        return "system.options"  # for any path, as in Docker
    for method, pattern, target in _compiled():
        if method == request.method and (found := pattern.fullmatch(request.path)):
            request.arguments = found.groupdict()
            return target
    raise HTTPError(404, "page not found")


def operation(target: str) -> Operation:
    """The function of a target; imports its module."""
    module, _, function = target.rpartition(".")
    found: Operation = getattr(
        import_module(f"composer.serve.{module if '.' in module else f'docker.{module}'}"), function
    )
    return found
