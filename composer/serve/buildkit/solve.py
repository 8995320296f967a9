"""The frontend `dockerfile.v0`: translate its options to a BuildSpec, and fetch its files from the session."""

from __future__ import annotations

import asyncio
import base64
import csv
import functools
import io
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread
from msgspec import json, structs

from composer.serve.buildkit import session, wire
from composer.serve.buildkit.caches import cache_exports, cache_imports
from composer.serve.buildkit.contexts import Brought, Contexts, mount_options
from composer.serve.buildkit.definition import Source
from composer.serve.buildkit.exporters import FILES, Exporter, exporters_of
from composer.serve.buildkit.forward import agent, offered
from composer.serve.buildkit.grpc import INVALID, UNIMPLEMENTED, UNKNOWN, Failed, Peer
from composer.serve.buildkit.send import send
from composer.serve.buildkit.status import Progress
from composer.serve.docker.image_transfer import familiar_path
from composer.serve.docker.streaming import Cancellation
from composer.view import outline as view
from composer.view.images import familiar, spelled_out
from engine.errors import BuildFailed, EngineError
from engine.image.reference import parse
from engine.spec.container import Ulimit
from engine.spec.image import BuildSpec
from engine.temporary_directory import temporary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from composer.serve.server import Server
    from engine.spec.credentials import Credentials
    from engine.spec.image import ImageRecord

_SSH = re.compile(r"--mount=(\S*type=ssh\S*)")


class Build:
    """One build, from its client's Solve to its Return. `exported` is the answer's description of the image."""

    def __init__(
        self,
        ref: str,
        session_id: str,
        exporters: Sequence[Exporter],
        cache_to: Sequence[str] = (),
        entitlements: Sequence[str] = (),
    ) -> None:
        self.ref, self.session_id = ref, session_id
        self.cache_to, self.entitlements = tuple(cache_to), tuple(entitlements)
        self.tags = tuple(name for one in exporters if one.stores for name in one.names)
        self.pushed = tuple((name, one.compression) for one in exporters if one.pushes for name in one.names)
        """The tags that are pushed after the build, and the compression of new layers."""
        self.sent = [one for one in exporters if not one.stores]
        """Results to send to the client."""
        self.annotations = tuple(pair for one in exporters for pair in one.annotations)
        only_sent = bool(self.sent) and not self.tags
        self.progress = Progress(ref, self.sent[0].kind if only_sent else "")
        self.returned = anyio.Event()
        self.error = ""
        self.exported: dict[str, str] = {}

    @classmethod
    def of(cls, payload: wire.Fields) -> Build:
        """The build of a SolveRequest. Raises Failed for unsupported exporters and caches."""
        return cls(
            wire.text(payload, 1),
            wire.text(payload, 5),
            exporters_of(payload),
            cache_exports(payload),
            [name.decode("utf-8", "replace") for name in wire.blocks(payload, 9)],
        )


SUBREQUESTS = ("frontend.lint", "frontend.outline", "frontend.targets")
"""What `docker build --check` and `--call` ask for instead of a build."""


async def subrequest(
    server: Server, build: Build, options: Mapping[str, str], inputs: Mapping[str, Source]
) -> dict[str, bytes]:
    """The answer to one of SUBREQUESTS, the option `requestid`. Raises Failed."""
    peer = await server.sessions.need(build.session_id)
    key = server.sessions.key(build.session_id)
    with (
        temporary(server.upload_folder) as folder,
        Contexts(server, peer, options, inputs, folder, key, build.progress) as contexts,
    ):
        spec = _spec(options, build, await contexts.bring())
        try:
            if options["requestid"] == "frontend.lint":
                name = options.get("filename") or "Dockerfile"
                return await to_thread.run_sync(lambda: _checked(server, spec, name))
            return await to_thread.run_sync(lambda: _described(server, spec, options["requestid"]))
        except EngineError as error:
            raise Failed(UNKNOWN, _words(error, spec.dockerfile)) from None


def _described(server: Server, spec: BuildSpec, request: str) -> dict[str, bytes]:
    engine = server.open_engine()
    outline = request == "frontend.outline"
    found = view.outline(engine.outline_build(spec)) if outline else view.targets(engine.build_targets(spec))
    return {"result.json": json.encode(found), "version": b"1.0.0"}


def _checked(server: Server, spec: BuildSpec, name: str) -> dict[str, bytes]:
    """`name` is the Dockerfile's for the client."""
    found = server.open_engine().check_build(spec)
    content = Path(spec.dockerfile).read_bytes() if spec.dockerfile.startswith("/") else b""
    warnings = [
        {
            "ruleName": one.rule,
            "url": one.url,
            "detail": one.detail,
            "location": {"ranges": [{"start": {"line": one.start}, "end": {"line": one.end}}]},
        }
        for one in found
    ]
    sources = [{"filename": name, "language": "Dockerfile", "data": base64.b64encode(content).decode()}]
    text = "".join(f"\n{one.text}" for one in found)
    return {
        "result.json": json.encode({"warnings": warnings, "sources": sources}),
        "result.txt": text.encode(),
        "result.statuscode": b"1" if found else b"0",
        "version": b"1.0.0",
    }


async def solve(
    server: Server, build: Build, frontend: str, options: Mapping[str, str], inputs: Mapping[str, Source]
) -> str:
    """Build, and return the id of the image. Raises Failed."""
    if frontend != "dockerfile.v0":
        raise Failed(UNIMPLEMENTED, f"frontend {frontend!r} is not supported here: only dockerfile.v0")
    if request := options.get("requestid"):
        raise Failed(UNIMPLEMENTED, f"the subrequest {request} is not supported here")
    peer = await server.sessions.need(build.session_id)
    try:
        key = server.sessions.key(build.session_id)
        with (
            temporary(server.upload_folder) as folder,
            Contexts(server, peer, options, inputs, folder, key, build.progress) as contexts,
        ):
            spec = _spec(options, build, await contexts.bring())
            name = options.get("filename") or "Dockerfile"
            async with _agents(peer, spec, folder) as sockets:
                record = await _run(server, build, structs.replace(spec, ssh=sockets), name, peer)
            for exporter in build.sent:
                write = functools.partial(exporter.write, server.open_engine(), record)
                await send(peer, exporter.number, write, folder, archive=not exporter.sends_files)
            build.progress.exported(record.id, build.tags)
            for tag, compression in build.pushed:
                await _push(server, build, tag, compression, peer)
            if build.sent and not record.tags:
                # The layers stay in the build cache; the client did not request an image.
                removed = (record.id, *record.others.values())
                await to_thread.run_sync(lambda: server.open_engine().prune_images(removed))
    except OSError as error:
        raise Failed(UNKNOWN, f"cannot receive the build context: {error.strerror}") from None
    if build.tags or not build.sent:
        server.journal.built(record, map(familiar, build.tags))
    if not build.tags and all(one.kind in FILES for one in build.sent) and build.sent:
        return record.id
    build.exported = {"containerimage.digest": record.id, "containerimage.config.digest": record.id}
    if build.tags:
        build.exported["image.name"] = ",".join(spelled_out(tag, record) for tag in build.tags)
    return record.id


@asynccontextmanager
async def _agents(peer: Peer, spec: BuildSpec, folder: str) -> AsyncIterator[tuple[str, ...]]:
    """The client's SSH agents that the Dockerfile uses, as `id=socket`."""
    mounts: list[str] = []
    if spec.dockerfile.startswith("/"):  # else it comes with a context that our builder fetches
        with open(spec.dockerfile, encoding="utf-8", errors="replace") as file:
            mounts = _SSH.findall(file.read())
    found: list[str] = []
    async with AsyncExitStack() as stack:
        for identity in dict.fromkeys(mount_options(mount).get("id") or "default" for mount in mounts):
            if await offered(peer, identity):
                path = f"{folder}/ssh-{len(found)}"
                await stack.enter_async_context(agent(peer, identity, path))
                found.append(f"{identity}={path}")
        yield tuple(found)


async def _run(server: Server, build: Build, spec: BuildSpec, name: str, peer: Peer) -> ImageRecord:
    """Run the build. `name` is the client's name for the Dockerfile. The build is cancelled when the client
    disconnects."""
    loop = asyncio.get_running_loop()
    cancellation = Cancellation()

    def known(registry: str) -> Credentials | None:
        return asyncio.run_coroutine_threadsafe(session.credentials(peer, registry), loop).result()

    def report(event: dict[str, object]) -> None:
        if cancellation.wanted:
            raise BuildFailed("canceled: the client disconnected")
        shown = {
            key: value.replace(spec.dockerfile, name) if isinstance(value, str) else value
            for key, value in event.items()
        }
        if shown.get("status") == "error":
            first = str(shown.get("text", "")).partition("\n")[0]
            shown["text"] = re.sub(re.escape(name) + r":\d+(?:-\d+)?: ", "", first, count=1)
        loop.call_soon_threadsafe(build.progress.take, shown)

    def work() -> ImageRecord:
        engine = server.open_engine()
        return engine.build(spec, progress=report, begun=cancellation.begun, credentials=known)

    try:
        return await cancellation.run(work, server.threads)
    except EngineError as error:
        raise Failed(UNKNOWN, _words(error, spec.dockerfile)) from None


async def _push(server: Server, build: Build, tag: str, compression: str, peer: Peer) -> None:
    """Push a tag of the image, with the client's credentials. Raises Failed."""
    try:
        given = await session.credentials(peer, parse(tag).registry)
        with build.progress.vertex(f"pushing {tag}"):
            push = functools.partial(server.open_engine().push, tag, given=given, compression=compression)
            await to_thread.run_sync(push, limiter=server.threads)
    except EngineError as error:
        raise Failed(UNKNOWN, f"failed to push {tag}: {error.message}") from None
    server.journal.add("image", "push", familiar(tag), {"name": familiar_path(familiar(tag))})


def _words(error: EngineError, dockerfile: str) -> str:
    """The message of a failed build, as BuildKit words it."""
    first = error.message.partition("\n")[0]
    line = ""
    if found := re.match(re.escape(dockerfile) + r":(\d+)(?:-\d+)?: (.*)", first):
        line, first = found[1], found[2]
    if missing := re.match(r'.*?("/[^"]*"): not found in ', first):
        return f"failed to compute cache key: failed to calculate checksum of ref composer::1 {missing[1]}: not found"
    if unknown := re.match(r"unknown instruction:? ", first):
        return f"dockerfile parse error on line {line}: unknown instruction: {first[unknown.end() :].split(' ')[0]}"
    return first


def _spec(options: Mapping[str, str], build: Build, brought: Brought) -> BuildSpec:
    """Failed for an invalid option."""

    def those(prefix: str) -> dict[str, str]:
        return {key.removeprefix(prefix): value for key, value in options.items() if key.startswith(prefix)}

    without_cache = [stage for stage in options.get("no-cache", "").split(",") if stage]
    try:
        return BuildSpec(
            context=brought.context,
            dockerfile=brought.dockerfile,
            tags=build.tags,
            args=dict(those("build-arg:")),
            target=options.get("target", ""),
            labels=those("label:"),
            platforms=tuple(one for one in options.get("platform", "").split(",") if one),
            additional_contexts=brought.contexts,
            cache_from=cache_imports(options),
            cache_to=build.cache_to,
            annotations=build.annotations,
            provenance=_attestation(options, "provenance"),
            sbom=_attestation(options, "sbom"),
            entitlements=build.entitlements,
            no_cache="no-cache" in options and not without_cache,
            no_cache_filter=tuple(without_cache),
            pull=options.get("image-resolve-mode") == "pull",
            network=options.get("force-network-mode", ""),
            extra_hosts=tuple(_pairs(options.get("add-hosts", ""))),
            cgroup_parent=options.get("cgroup-parent", ""),
            shm_size=int(options.get("shm-size") or 0),
            ulimits=tuple(_ulimit(one) for one in options.get("ulimit", "").split(",") if one),
            secrets=brought.secrets,
            ref=build.ref,
            shown_as=_shown(options, brought),
        )
    except ValueError as error:
        raise Failed(INVALID, f"invalid option: {error}") from None


def _attestation(options: Mapping[str, str], kind: str) -> str:
    """The options of an attestation that the user requested. Without a request, buildx asks for a provenance that is
    `inline-only`: that is in the record of the build."""
    if (text := options.get(f"attest:{kind}")) is None:
        return ""
    words = [word for word in next(csv.reader([text]), []) if word != f"type={kind}"]
    if "inline-only=true" in words:
        return ""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(words)
    return line.getvalue() if words else "true"


def _shown(options: Mapping[str, str], brought: Brought) -> dict[str, str]:
    """The client's names of what it sent."""
    found = {brought.dockerfile: options.get("filename") or "Dockerfile", brought.context: options.get("context", "")}
    return {path: name for path, name in found.items() if path.startswith("/")}


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (one.partition("=") for one in text.split(",") if one)]


def _ulimit(text: str) -> Ulimit:
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    return Ulimit(name=name, soft=int(soft), hard=int(hard or soft))
