"""Ping, version and info (Docker Engine API 1.55, "System")."""

from __future__ import annotations

import os
import platform
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

from composer.release import VERSION
from composer.serve.docker import found
from composer.serve.http.errors import HTTPError
from composer.serve.http.request import Reply
from composer.serve.routes import NEWEST, OLDEST

if TYPE_CHECKING:
    from composer.serve.http.connection import Exchange
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
    """This machine's architecture in Go's words (OCI image specification, "platform")."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def memory_total() -> int:
    """Bytes of the machine's memory (sysconf(3))."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


async def info(server: Server, request: Request, exchange: Exchange) -> Reply:
    engine = server.engine
    states = [record.state.status.value for group in engine.groups() for record in engine.containers(group)]
    facts: dict[str, Any] = {
        "Containers": len(states),
        "ContainersRunning": sum(state in ("running", "restarting") for state in states),
        "ContainersPaused": states.count("paused"),
        "ContainersStopped": sum(state in ("created", "exited", "dead") for state in states),
        "Images": len(engine.images()),
        "Driver": "overlay2",
        "KernelVersion": platform.release(),
        "OSType": "linux",
        "Architecture": platform.machine(),
        "NCPU": os.cpu_count(),
        "MemTotal": memory_total(),
        "Name": platform.node(),
        "ServerVersion": VERSION,
    }
    return Reply(facts)


async def no_swarm(server: Server, request: Request, exchange: Exchange) -> Reply:
    raise HTTPError(
        503,
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
        "and try again.",
    )


async def plugins(server: Server, request: Request, exchange: Exchange) -> Reply:
    return Reply([])


async def usage(server: Server, request: Request, exchange: Exchange) -> Reply:
    """What images, containers and volumes take on the disc."""
    from composer.serve.docker import containers, images, volumes

    engine = server.engine
    records = list(found.every(engine))
    used = Counter(record.spec.image for record in records)
    mounted = Counter(
        name
        for record in records
        for name in {*record.state.anonymous_volumes, *(m.source for m in record.spec.mounts if m.type == "volume")}
    )
    rows = [images.listed(image, used[image.id]) for image in engine.images()]
    shown = [
        {
            **volumes.shown(v),
            "UsageData": {"Size": containers.tree_size(v.mountpoint), "RefCount": mounted[v.spec.name]},
        }
        for v in engine.volumes()
    ]
    return Reply(
        {
            "LayersSize": sum(row["Size"] for row in rows),
            "Images": rows,
            "Containers": [containers.listed(engine, record, sizes=True) for record in records],
            "Volumes": shown,
            "BuildCache": [],
        }
    )
