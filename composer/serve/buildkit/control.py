"""`POST /grpc`: the services that build clients call (moby/buildkit, api/services/control and frontend/gateway).

A build is one Control.Solve that stays open. With other calls the client runs the frontend (LLBBridge.Solve), follows
its progress (Status) and ends the build (LLBBridge.Return).
"""

from __future__ import annotations

import platform
import time
import traceback
from typing import TYPE_CHECKING

import anyio

from composer.release import VERSION
from composer.serve.buildkit import history, wire
from composer.serve.buildkit.definition import Source, image_definition, source_of
from composer.serve.buildkit.grpc import INVALID, NOT_FOUND, UNIMPLEMENTED, UNKNOWN, Call, Failed, Peer
from composer.serve.buildkit.session import tunnel
from composer.serve.buildkit.solve import SUBREQUESTS, Build, solve, subrequest
from composer.serve.change_signal import ChangeSignal
from composer.serve.docker.system import go_architecture
from composer.serve.http.errors import BadRequest, ClientGone
from composer.view.build_cache import over

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server
    from engine.spec.image import CacheEntry

CONTROL, BRIDGE = "/moby.buildkit.v1.Control/", "/moby.buildkit.v1.frontend.LLBBridge/"
CONTENT = "/containerd.services.content.v1.Content/"
FRONTEND_CAPS = (
    "solve.base", "solve.inlinereturn", "return", "returnmap", "proto.refarray", "reference.output", "frontend.inputs",
    "gateway.solve.metadata", "frontend.caps", "gateway.solve.evaluate", "gateway.evaluate",
    "importcaches",
    "moby.buildkit.frontend.subrequests",
)  # fmt: skip
LLB_CAPS = ("source.git", "source.git.fullurl", "source.http",
            "source.local", "source.local.unique", "source.local.sessionid", "source.local.followpaths",
            "source.local.excludepatterns", "source.image", "meta.ignorecache", "meta.description",
            "exporter.image.attestations")  # fmt: skip
_LABEL = "org.mobyproject.buildkit.worker."
"""Labels of a worker. By `snapshotter`, buildx recognises an engine that has the exporters oci and docker, exports caches,
and builds for several platforms."""
PATIENCE = 20.0
"""Seconds that other calls of a build wait for its Control.Solve."""


class Builds:
    """The builds in progress, by the reference that their clients chose."""

    def __init__(self) -> None:
        self._builds: dict[str, Build] = {}
        self._change = ChangeSignal()

    def add(self, build: Build) -> None:
        if build.ref in self._builds:
            raise Failed(INVALID, f"build {build.ref} exists already")
        self._builds[build.ref] = build
        self._change.notify()

    def remove(self, build: Build) -> None:
        self._builds.pop(build.ref, None)

    def known(self, ref: str) -> bool:
        return ref in self._builds

    async def need(self, ref: str) -> Build:
        with anyio.move_on_after(PATIENCE):
            while ref not in self._builds:
                await self._change.wait()
        if ref not in self._builds:
            raise Failed(NOT_FOUND, f"no such job {ref}")
        return self._builds[ref]


async def grpc(server: Server, request: Request, exchange: Exchange) -> None:
    if not exchange.upgrades:
        raise BadRequest("no upgrade proto in request")

    async def handle(call: Call) -> None:
        if call.path == f"{CONTROL}Session":
            return await tunnel(server, call)
        operation = _CALLS.get(call.path)
        if operation is None:
            raise Failed(UNIMPLEMENTED, f"{call.path} is not implemented")
        try:
            await operation(server, call, wire.fields(await call.receive() or b""))
        except wire.Malformed as error:
            raise Failed(INVALID, f"malformed message: {error}") from None
        except (Failed, ClientGone):
            raise
        except Exception as error:
            server.log(f"{call.path}:\n{traceback.format_exc().rstrip()}")
            raise Failed(UNKNOWN, f"internal error: {type(error).__name__}: {error}") from None

    await Peer(await exchange.hijack("", protocol="h2c"), handle).run()


def _worker() -> bytes:
    system = wire.message((1, go_architecture()), (2, "linux"))
    return wire.message(
        (1, "composer"),
        (3, system),
        (5, wire.message((1, "composer"), (2, VERSION))),
    ) + wire.mapping(2, {f"{_LABEL}hostname": platform.node(), f"{_LABEL}snapshotter": "overlayfs"})


async def _workers(server: Server, call: Call, payload: wire.Fields) -> None:
    await call.send(wire.block(1, _worker()))


async def _info(server: Server, call: Call, payload: wire.Fields) -> None:
    await call.send(wire.message((1, wire.message((1, "github.com/moby/buildkit"), (2, f"composer-{VERSION}")))))


async def _solve(server: Server, call: Call, payload: wire.Fields) -> None:
    """Wait for the client's Return, and answer with the result."""
    if next(iter(wire.blocks(payload, 2)), b""):
        raise Failed(UNIMPLEMENTED, "LLB definitions are not supported here: only frontend dockerfile.v0")
    build = Build.of(payload)
    server.builds.add(build)
    try:
        if frontend := wire.text(payload, 6):
            await solve(server, build, frontend, wire.strings(payload, 7), _inputs(payload, 10))
        else:
            await build.returned.wait()
        if build.error:
            raise Failed(UNKNOWN, build.error)
        await call.send(wire.mapping(1, build.exported))
    finally:
        build.progress.end()
        server.tasks.start_soon(_forget, server, build)


async def _forget(server: Server, build: Build) -> None:
    """Forget the build after a while, because clients may still connect to read its status."""
    await anyio.sleep(PATIENCE)
    server.builds.remove(build)


async def _status(server: Server, call: Call, payload: wire.Fields) -> None:
    ref = wire.text(payload, 1)
    if not server.builds.known(ref) and (events := await anyio.to_thread.run_sync(lambda: history.events(server, ref))):
        return await call.send(b"".join(events))
    build = await server.builds.need(ref)
    position = 0
    while messages := await build.progress.after(position):
        position += len(messages)
        await call.send(b"".join(messages))


def _entry(entry: CacheEntry) -> bytes:
    """A UsageRecord."""
    moments = ((6, entry.created_at), (7, entry.used_at))
    times = b"".join(
        wire.block(number, wire.message((1, int(timestamp)))) for number, timestamp in moments if timestamp
    )
    return (
        wire.message((1, entry.key[:25]), (3, int(entry.in_use)), (4, entry.size))
        + times
        + wire.message((8, 1), (9, entry.step), (10, "regular"), (11, int(entry.shared)))
    )


async def _usage(server: Server, call: Call, payload: wire.Fields) -> None:
    usage = await anyio.to_thread.run_sync(lambda: server.open_engine().store_usage())
    await call.send(b"".join(wire.block(1, _entry(entry)) for entry in usage.cache))


async def _prune(server: Server, call: Call, payload: wire.Fields) -> None:
    """Delete unused records, or with `all` any, least recently used first until the rest fits; report each."""
    everything, keep = bool(wire.number(payload, 2)), max(wire.number(payload, 4), wire.number(payload, 5))
    oldest = time.time() - wire.number(payload, 3) / 1e9
    if any(wire.blocks(payload, 1)):
        raise Failed(UNIMPLEMENTED, "filters are not supported here: use docker builder prune")

    def work() -> list[CacheEntry]:
        engine = server.open_engine()
        fit = [
            entry
            for entry in engine.store_usage().cache
            if (everything or not entry.in_use) and (not wire.number(payload, 3) or entry.used_at < oldest)
        ]
        removed = set(engine.prune_images((), [entry.key for entry in (over(fit, keep) if keep else fit)]).cache)
        return [entry for entry in fit if entry.key in removed]

    for entry in await anyio.to_thread.run_sync(work):
        await call.send(_entry(entry))


async def _ping(server: Server, call: Call, payload: wire.Fields) -> None:
    await server.builds.need(call.metadata.get("buildkit-controlapi-buildid", ""))

    def caps(number: int, names: tuple[str, ...]) -> bytes:
        return b"".join(wire.block(number, wire.message((1, name), (2, 1))) for name in names)

    await call.send(caps(1, FRONTEND_CAPS) + caps(2, LLB_CAPS) + wire.block(3, _worker()))


async def _frontend(server: Server, call: Call, payload: wire.Fields) -> None:
    build = await server.builds.need(call.metadata.get("buildkit-controlapi-buildid", ""))
    if any(wire.fields(data) for data in wire.blocks(payload, 1)):
        raise Failed(UNIMPLEMENTED, "LLB definitions are not supported here: only frontend dockerfile.v0")
    inputs = _inputs(payload, 13)
    options = wire.strings(payload, 3)
    if options.get("requestid") in SUBREQUESTS:
        await call.send(wire.block(3, wire.mapping(10, await subrequest(server, build, options, inputs))))
        return
    image = await solve(server, build, wire.text(payload, 2), options, inputs)
    reference = wire.message((1, image), (2, image_definition(image)))
    await call.send(wire.block(3, wire.block(3, reference)))


def _inputs(payload: wire.Fields, number: int) -> dict[str, Source]:
    """A map of definitions. Failed, wire.Malformed."""
    entries = [wire.fields(entry) for entry in wire.blocks(payload, number)]
    return {wire.text(entry, 1): source_of(next(iter(wire.blocks(entry, 2)), b"")) for entry in entries}


async def _evaluate(server: Server, call: Call, payload: wire.Fields) -> None:
    """A reference already is the image."""
    await call.send(b"")


async def _return(server: Server, call: Call, payload: wire.Fields) -> None:
    build = await server.builds.need(call.metadata.get("buildkit-controlapi-buildid", ""))
    for status in wire.blocks(payload, 2):
        build.error = wire.text(wire.fields(status), 2) or "the client gave up"
    build.returned.set()
    await call.send(b"")


_CALLS: dict[str, Callable[[Server, Call, wire.Fields], Awaitable[None]]] = {
    f"{CONTROL}ListWorkers": _workers,
    f"{CONTROL}Info": _info,
    f"{CONTROL}Solve": _solve,
    f"{CONTROL}Status": _status,
    f"{CONTROL}DiskUsage": _usage,
    f"{CONTROL}Prune": _prune,
    f"{CONTROL}ListenBuildHistory": history.listen,
    f"{CONTROL}UpdateBuildHistory": history.update,
    f"{CONTENT}Info": history.content_info,
    f"{CONTENT}Read": history.content_read,
    f"{BRIDGE}Ping": _ping,
    f"{BRIDGE}Solve": _frontend,
    f"{BRIDGE}Evaluate": _evaluate,
    f"{BRIDGE}Return": _return,
}
