"""Ping, version and info (Docker Engine API 1.55, "System")."""

from __future__ import annotations

import platform
from functools import cache
from typing import TYPE_CHECKING

from composer.release import VERSION
from composer.serve.http.errors import BadRequest
from composer.serve.http.request import Reply
from composer.serve.routes import NEWEST, OLDEST
from composer.view.usage import KINDS, facts, usage

if TYPE_CHECKING:
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server

API, MIN_API = (f"{major}.{minor}" for major, minor in (NEWEST, OLDEST))


async def ping(server: Server, request: Request, exchange: Exchange) -> Reply:
    headers = {
        "Builder-Version": "2",
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Content-Type": "text/plain; charset=utf-8",
        "Pragma": "no-cache",
        "Swarm": "inactive",
    }
    return Reply(content=b"" if request.method == "HEAD" else b"OK", headers=headers)


async def options(server: Server, request: Request, exchange: Exchange) -> Reply:
    return Reply()


async def version(server: Server, request: Request, exchange: Exchange) -> Reply:
    details = {
        "ApiVersion": API,
        "Arch": go_architecture(),
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": platform.release(),
        "MinAPIVersion": MIN_API,
        "Os": "linux",
    }
    return Reply(
        {
            "Platform": {"Name": "Composer"},
            "Components": [{"Name": "Engine", "Version": VERSION, "Details": details}],
            "Version": VERSION,
            **{name: value for name, value in details.items() if name != "Experimental"},
        }
    )


@cache
def go_architecture() -> str:
    """This machine's architecture by its Go name (OCI image specification, "platform")."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


async def info(server: Server, request: Request, exchange: Exchange) -> Reply:
    return Reply(facts(server.engine, VERSION, root=server.roots.state, listeners=server.journal.listeners))


async def disk_usage(server: Server, request: Request, exchange: Exchange) -> Reply:
    """The disk usage of images, containers, volumes and the build cache; `type` selects among them. Raises
    BadRequest."""
    kinds = request.queries("type")
    for kind in kinds:
        if kind not in KINDS:
            raise BadRequest(f"unknown object type: {kind}")
    return Reply(usage(server.engine, kinds or KINDS))
