"""Building the images of services: in the order of their dependencies, concurrently where possible."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
import msgspec

from composer.cli.errors import CommandError
from composer.cli.parsing.flag_values import byte_size
from composer.cli.project.concurrently import Task, side_by_side
from composer.cli.render.progress import Progress, State
from composer.plan import refusal
from engine.errors import EngineError
from engine.paths import docker_client
from engine.spec.container import Resources

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.plan.desired import Desired, DesiredService
    from composer.run.port import Engine
    from engine.spec.image import BuildSpec


def with_needed(desired: Desired, names: Iterable[str]) -> list[str]:
    """These services and those whose images their builds take as additional contexts, in order."""
    chosen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        service = desired.services.get(name)
        if name not in chosen and service is not None and service.build is not None:
            chosen.add(name)
            waiting += sorted(contexts_of(service.build))
    return [name for name in desired.services if name in chosen]


def contexts_of(spec: BuildSpec) -> set[str]:
    """Services whose images a build takes as additional contexts."""
    return {
        value.removeprefix("service:") for value in spec.additional_contexts.values() if value.startswith("service:")
    }


def build_all(
    context: Context, builds: Sequence[tuple[DesiredService, BuildSpec]], *, quiet: bool = False
) -> dict[str, str]:
    """Build the images; service → image id. A build that uses another service's image waits for it. CommandError for the first
    failure."""
    made: dict[str, str] = {}
    proxy_args = proxies(context.environ) if builds else {}
    waiting = {
        service.name: (service, msgspec.structs.replace(spec, args={**proxy_args, **spec.args}))
        for service, spec in builds
    }
    uses = {name: _uses(spec, waiting) - {name} for name, (_, spec) in waiting.items()}
    with context.progress("build", quiet=quiet, log=context.build_log or sys.stdout) as progress:
        while waiting:
            ready = {name: pair for name, pair in waiting.items() if not uses[name] & waiting.keys()}
            ready = ready or dict([next(iter(waiting.items()))])
            tasks = {step_of(pair[0]): _build(context, *pair, progress, made) for pair in ready.values()}
            side_by_side(context, tasks, progress)
            for name in ready:
                del waiting[name]
    return made


_PROXIES = {"httpProxy": "HTTP_PROXY", "httpsProxy": "HTTPS_PROXY", "ftpProxy": "FTP_PROXY", "noProxy": "NO_PROXY",
            "allProxy": "ALL_PROXY"}  # fmt: skip


class _ClientConfig(msgspec.Struct):
    proxies: dict[str, dict[str, str]] = {}


_decode = msgspec.json.Decoder(_ClientConfig).decode


def proxies(environ: Mapping[str, str]) -> dict[str, str | None]:
    """Build arguments from `proxies` in the client's configuration, in both spellings (docs.docker.com, "Use a proxy
    server with the Docker CLI"). CommandError for a file that cannot be read."""
    path = os.path.join(docker_client(environ), "config.json")
    try:
        with open(path, "rb") as file:
            config = _decode(file.read(16 << 20))
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise CommandError(f"cannot read the client's configuration {path}: {error}") from error
    chosen = config.proxies.get(environ.get("DOCKER_HOST", ""), config.proxies.get("default", {}))
    return {
        spelling: chosen[key] for key, name in _PROXIES.items() if chosen.get(key) for spelling in (name, name.lower())
    }


def is_nameless(desired: Desired, service: DesiredService) -> bool:
    """Whether the service names no image, or only the default name of its build."""
    return not service.image or (service.build is not None and service.image == f"{desired.project}-{service.name}")


def step_of(service: DesiredService) -> str:
    return f"Image {service.image}"


def _uses(spec: BuildSpec, builds: Mapping[str, tuple[DesiredService, BuildSpec]]) -> set[str]:
    """Services whose images the build uses: as additional contexts, or by name in its Dockerfile."""
    text = _dockerfile(spec)
    words = set(text.replace("=", " ").split())
    named = {
        name
        for name, (_, other) in builds.items()
        if any(tag in words or f"{tag}:latest" in words for tag in other.tags)
    }
    return contexts_of(spec) | named


def _dockerfile(spec: BuildSpec) -> str:
    """The Dockerfile's text with the values of arguments; "" when it is not a local file."""
    text = spec.dockerfile_inline or ""
    if not text:
        try:
            with open(os.path.join(spec.context, spec.dockerfile), encoding="utf-8", errors="replace") as file:
                text = file.read(16 << 20)
        except OSError:
            return ""
    return " ".join((text, *(value for value in spec.args.values() if value)))


def _with_images(context: Context, spec: BuildSpec, made: Mapping[str, str]) -> BuildSpec:
    """Replace an additional context `service:name` by that service's image: the one just built, or the one that it names."""
    if not contexts_of(spec):
        return spec
    contexts: dict[str, str] = {}
    for key, value in spec.additional_contexts.items():
        name = value.removeprefix("service:")
        contexts[key] = (
            value if name == value else f"docker-image://{made.get(name) or context.desired.services[name].image}"
        )
    return msgspec.structs.replace(spec, additional_contexts=contexts)


def _build(
    context: Context, service: DesiredService, spec: BuildSpec, progress: Progress, made: dict[str, str]
) -> Task:
    step = step_of(service)

    def report(event: dict[str, object]) -> None:
        progress.build(step, event, prefix=f"{service.name} ")

    def work(engine: Engine) -> None:
        progress.update(step, "Building")
        if not context.dry_run:
            try:
                made[service.name] = engine.build(_with_images(context, spec, made), progress=report).id
            except EngineError as error:
                raise CommandError(str(error)) from error
        progress.update(step, "Built", State.DONE)

    return work


def build_services(
    context: Context, services: Sequence[str], *, dependencies: bool, arguments: Mapping[str, str | None],
    no_cache: bool, pull: bool, ssh: str | None, quiet: bool, check: bool = False, push: bool | None = None,
    memory: str = "", provenance: str = "", sbom: str = "",
) -> int:  # fmt: skip
    """composer build. `ssh`: "" is the default agent, None is none; `check`: nothing is built; `memory` limits each RUN step.
    `push`: print the bake file of a build that pushes the images or not, instead of building."""
    limit = Resources(memory=byte_size("-m, --memory", memory))
    context.check_services(services)
    desired = context.desired
    if push is None and ssh in ("", "default") and not context.environ.get("SSH_AUTH_SOCK"):
        raise CommandError("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set")
    chosen = with_needed(desired, desired.selected(services, dependencies=dependencies))
    refusal.check(desired, chosen)
    builds = []
    for name in chosen:
        service = desired.services[name]
        if service.build is not None:
            _check_platform(context, service)
            spec = msgspec.structs.replace(
                service.build,
                args={**service.build.args, **arguments},
                no_cache=service.build.no_cache or no_cache,
                pull=service.build.pull or pull,
                ssh=service.build.ssh if ssh is None else (*service.build.ssh, ssh or "default"),
                resources=limit,
                provenance=provenance or service.build.provenance,
                sbom=sbom or service.build.sbom,
            )
            builds.append((service, spec))
    if not builds:
        context.warn("No services to build")
        return 0
    if push is not None:
        return _print(context, builds, push=push, check=check)
    if check:
        return _check(context, builds)
    build_all(context, builds, quiet=quiet)
    return 0


def _print(context: Context, builds: Sequence[tuple[DesiredService, BuildSpec]], *, push: bool, check: bool) -> int:
    """composer build --print."""
    import json

    from composer.cli.project.bake import bake_file

    pushed = [service.name for service, _ in builds if push and not is_nameless(context.desired, service)]
    print(json.dumps(bake_file(builds, push=pushed, check=check), indent=2, ensure_ascii=False))
    return 0


def _check(context: Context, builds: Sequence[tuple[DesiredService, BuildSpec]]) -> int:
    """composer build --check: print the problems of each Dockerfile; 1 if there are any."""
    code = 0
    for number, (service, spec) in enumerate(builds):
        try:
            warnings = context.engine.check_build(spec)
        except EngineError as error:
            raise CommandError(f"service {service.name}: {error}") from error
        code = 1 if warnings else code
        if len(builds) > 1:
            print(f"{chr(10) if number else ''}{service.name}\n")
        print(check_summary(len(warnings)))
        for warning in warnings:
            print(f"\n{warning.text}", end="")
    return code


def check_summary(count: int) -> str:
    """The line below which a check of a Dockerfile prints its warnings."""
    found = {0: "no warnings found.", 1: "1 warning has been found!"}.get(count, f"{count} warnings have been found!")
    return f"Check complete, {found}"


def _check_platform(context: Context, service: DesiredService) -> None:
    """CommandError when the service is not built for the default platform."""
    wanted = context.environ.get("DOCKER_DEFAULT_PLATFORM", "")
    platforms = service.build.platforms if service.build is not None else ()
    if wanted and platforms and service.platform == wanted and wanted not in platforms:
        raise CommandError(
            f'service "{service.name}" build.platforms does not support value set by DOCKER_DEFAULT_PLATFORM: {wanted}'
        )
