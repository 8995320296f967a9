"""The classic builder's endpoint, for clients without BuildKit (Docker Engine API 1.55, ImageBuild).

The request's body is the context as a tar archive. Our own builder builds the image; progress is reported in the
classic builder's format, one step per instruction.
"""

from __future__ import annotations

import functools
import re
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from composer.serve.docker import body
from composer.serve.docker.create import host_entry
from composer.serve.docker.registries import several
from composer.serve.docker.streaming import Cancellation, Reporter, upload, while_connected
from composer.serve.errors import described_error
from composer.serve.http.errors import BadRequest, HTTPError
from composer.view import lookup, networks
from composer.view.images import familiar
from engine.errors import BuildFailed, EngineError
from engine.spec.container import Resources, Ulimit
from engine.spec.image import BuildSpec
from engine.temporary_directory import temporary

if TYPE_CHECKING:
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server
    from engine.spec.credentials import Credentials
    from engine.spec.image import ImageRecord

T = TypeVar("T")
_ARGUMENTS: msgspec.json.Decoder[dict[str, str | None] | None] = msgspec.json.Decoder(dict[str, str | None] | None)
_LABELS: msgspec.json.Decoder[dict[str, str] | None] = msgspec.json.Decoder(dict[str, str] | None)
_NAMES: msgspec.json.Decoder[list[str] | None] = msgspec.json.Decoder(list[str] | None)
_ULIMITS: msgspec.json.Decoder[list[body.Ulimit] | None] = msgspec.json.Decoder(list[body.Ulimit] | None)
_INSTRUCTION = re.compile(r"\s*([A-Za-z]+)\b")
_HEREDOC = re.compile(r"<<-?(['\"]?)([A-Za-z_]\w*)\1")


async def build(server: Server, request: Request, exchange: Exchange) -> None:
    if request.query("version") == "2":
        raise BadRequest("BuildKit is served at /grpc and /session, not at /build: use a client that speaks it there")
    reporter, cancellation = Reporter(exchange), Cancellation()
    with temporary(server.upload_folder) as folder:
        spec = _spec(server, request, folder)
        if not request.query("remote"):
            await upload(request, lambda fd: _unpack(server, fd, folder))
        quiet = request.flag("q")
        async with while_connected(exchange):
            work = functools.partial(_build, server, spec, reporter, cancellation, several(request), quiet=quiet)
            record = await reporter.run(work, cancellation)
            if record is not None:
                server.journal.built(record, map(familiar, spec.tags))
                await _succeeded(reporter, spec, record, quiet=quiet)


def _unpack(server: Server, fd: int, folder: str) -> None:
    server.open_engine().unpack_local(fd, folder, lambda name: name)


async def _succeeded(reporter: Reporter, spec: BuildSpec, record: ImageRecord, *, quiet: bool) -> None:
    await reporter.send({"aux": {"ID": record.id}})
    if quiet:
        await reporter.send({"stream": f"{record.id}\n"})
        return
    await reporter.send({"stream": f"Successfully built {record.id.removeprefix('sha256:')[:12]}\n"})
    for tag in spec.tags:
        shown = familiar(tag)
        full = shown if ":" in shown.rpartition("/")[2] else f"{shown}:latest"
        await reporter.send({"stream": f"Successfully tagged {full}\n"})


def _build(
    server: Server,
    spec: BuildSpec,
    reporter: Reporter,
    cancellation: Cancellation,
    known: Mapping[str, Credentials],
    *,
    quiet: bool,
) -> ImageRecord:
    steps = Steps(_instructions(f"{spec.context}/{spec.dockerfile}", spec.target), reporter.report, quiet=quiet)
    try:
        record = server.open_engine().build(spec, progress=steps.take, begun=cancellation.begun, credentials=known.get)
    except BuildFailed as error:
        raise _failed(error, spec) from None
    except EngineError as error:
        raise described_error(error) from None
    steps.rest()
    return record


def _failed(error: BuildFailed, spec: BuildSpec) -> HTTPError:
    """The message of a failed build, as the classic builder words it."""
    first = error.message.partition("\n")[0]
    if found := re.match(r'.*process "(.*)" did not complete successfully: exit code: (\d+)', first):
        text = f"The command '{found[1]}' returned a non-zero code: {found[2]}"
        return HTTPError(500, text, code=int(found[2]))
    if missing := re.match(r'.*?"/([^"]*)": not found in ', first):
        return HTTPError(
            500,
            "COPY failed: file not found in build context or excluded by .dockerignore: "
            f"stat {missing[1]}: file does not exist",
        )
    if parsed := re.match(re.escape(spec.dockerfile) + r":(\d+)(?:-\d+)?: (.*)", first):
        return HTTPError(400, f"dockerfile parse error on line {parsed[1]}: {parsed[2]}")
    if "does not exist" in first and "Dockerfile" in first:
        return HTTPError(500, f"Cannot locate specified Dockerfile: {spec.dockerfile}")
    return HTTPError(500, first)


class Steps:
    """Reports the builder's events as steps of the classic builder. Our builder has no events for instructions without
    a layer. They are reported before the next layer, once it is known whether that came from the cache."""

    def __init__(self, texts: list[str], report: Callable[[Mapping[str, object]], None], *, quiet: bool) -> None:
        self._texts, self._report, self._quiet = texts, report, quiet
        self._plain = [" ".join(text.split()) for text in texts]
        self._reached = 0
        self._cached = False
        self._unused: list[str] = []

    def take(self, event: dict[str, Any]) -> None:
        """Report an event of engine.build.progress."""
        status, name = event.get("status"), str(event.get("name", ""))
        if status == "output" and name.startswith("[internal]"):
            return  # what the builder writes and names: the classic builder reports it after the last step
        text = " ".join(name.partition("] ")[2].split())
        if status in ("output", "done", "cached"):
            self._reach(text, cached=status == "cached")
        if status == "output":
            line = f"{event.get('text', '')}\n"
            self._write(f"\x1b[91m{line}\x1b[0m" if event.get("stream") == 2 else line)
        elif status == "warning" and "not consumed" in str(event.get("text")):
            names = str(event["text"]).rpartition(": ")[2]
            self._unused.append(f"[Warning] One or more build-args [{names}] were not consumed\n")

    def _reach(self, text: str, *, cached: bool) -> None:
        """Report the instructions before this one, and this one."""
        if text not in self._plain[self._reached :]:
            return
        if not text.upper().startswith("FROM "):
            self._cached = cached
        while True:
            self._step()
            if self._plain[self._reached - 1] == text:
                return

    def rest(self) -> None:
        """Report the instructions after the last layer."""
        while self._reached < len(self._texts):
            self._step()
        for warning in self._unused:
            self._write(warning)

    def _step(self) -> None:
        text = self._texts[self._reached]
        self._reached += 1
        self._write(f"Step {self._reached}/{len(self._texts)} : {text}\n")
        word = text.split()[0].upper()
        if word == "FROM":
            pass
        elif self._cached:
            self._write(" ---> Using cache\n")
        elif word not in ("COPY", "ADD"):
            container = secrets.token_hex(6)
            self._write(f" ---> Running in {container}\n")
            self._write(f" ---> Removed intermediate container {container}\n")
        self._write(f" ---> {secrets.token_hex(6)}\n")

    def _write(self, text: str) -> None:
        if not self._quiet:
            self._report({"stream": text})


def _instructions(path: str, target: str) -> list[str]:
    """The instructions of a Dockerfile up to the end of the target stage, each on one line, without comments and
    heredocs."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = iter(file.read().split("\n"))
    except OSError:
        return []
    found: list[str] = []
    for line in lines:
        if line.lstrip().startswith("#") or not _INSTRUCTION.match(line):
            continue
        text = line.strip()
        while text.endswith("\\"):
            text = (
                text[:-1].rstrip() + " " + next((one.strip() for one in lines if not one.lstrip().startswith("#")), "")
            )
        for _, word in _HEREDOC.findall(text):
            for inner in lines:
                if inner.strip() == word:
                    break
        found.append(text)
    return _until(found, target)


def _until(found: list[str], target: str) -> list[str]:
    inside = False
    for position, text in enumerate(found):
        words = text.split()
        if words[0].upper() == "FROM":
            if inside:
                return found[:position]
            inside = bool(target) and words[-1].lower() == target.lower() and len(words) > 3
    return found


def _without_source(server: Server, request: Request) -> bool:
    """Whether none of the images in `cachefrom` exists here."""
    sources = _json(request, "cachefrom", _NAMES) or []
    return bool(sources) and all(server.engine.image(one) is None for one in sources)


def _spec(server: Server, request: Request, folder: str) -> BuildSpec:
    """Parse the query's parameters; empty or null JSON means unset. Raises BadRequest."""
    arguments = _json(request, "buildargs", _ARGUMENTS) or {}
    labels = _json(request, "labels", _LABELS) or {}
    ulimits = _json(request, "ulimits", _ULIMITS) or []
    network = _network(server, request.query("networkmode"))
    hosts = [one for text in request.queries("extrahosts") for one in text.split(",") if one]
    dockerfile = request.query("dockerfile") or "Dockerfile"
    if dockerfile.startswith("/") or ".." in dockerfile.split("/"):
        raise BadRequest(f"forbidden path outside the build context: {dockerfile}")
    for name in ("squash", "outputs"):
        if request.query(name) not in ("", "0", "false", "[]", "null"):
            raise BadRequest(f"{name} is not supported by this builder")
    return BuildSpec(
        context=request.query("remote") or folder,
        dockerfile=dockerfile,
        tags=tuple(tag for tag in request.queries("t") if tag),
        args=arguments,
        labels=labels,
        target=request.query("target"),
        platforms=tuple(one for one in (request.query("platform"),) if one),
        no_cache=request.flag("nocache") or _without_source(server, request),
        pull=request.flag("pull"),
        network=network,
        shm_size=request.number("shmsize", 0) or 0,
        extra_hosts=(*map(host_entry, hosts), *_neighbours(server, network)),
        ulimits=tuple(Ulimit(name=one.name, soft=one.soft, hard=one.hard) for one in ulimits),
        cgroup_parent=request.query("cgroupparent"),
        resources=Resources(
            memory=request.number("memory", 0) or 0,
            memory_swap=request.number("memswap", 0) or 0,
            cpu_shares=request.number("cpushares", 0) or 0,
            cpu_quota=request.number("cpuquota", 0) or 0,
            cpu_period=request.number("cpuperiod", 0) or 0,
            cpuset=request.query("cpusetcpus"),
            cpuset_mems=request.query("cpusetmems"),
        ),
    )


def _network(server: Server, mode: str) -> str:
    """The network of a build's steps, by its name; "" for the default. Unknown."""
    if mode in ("", "default", "bridge"):
        return ""
    return mode if mode in ("host", "none") else networks.need(server.engine, mode).spec.name


def _neighbours(server: Server, network: str) -> list[tuple[str, str]]:
    """The names and addresses of the running containers on the network of a build's steps, because these steps have no
    DNS server."""
    return [
        (name, endpoint.ipv4_address)
        for record in lookup.every(server.engine)
        for endpoint in record.state.endpoints
        if network and endpoint.network == network
        for name in (record.spec.name, *endpoint.aliases)
        if endpoint.ipv4_address
    ]


def _json(request: Request, name: str, decoder: msgspec.json.Decoder[T]) -> T | None:
    text = request.query(name)
    if not text:
        return None
    try:
        return decoder.decode(text.encode())
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise BadRequest(f"invalid {name}: {error}") from None
