"""`build --print`: the builds of services as a bake file (docs.docker.com, "Bake file reference"), for `docker buildx bake`."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from composer.plan.desired import DesiredService
    from engine.spec.image import BuildSecret, BuildSpec

Builds = Sequence[tuple["DesiredService", "BuildSpec"]]


def bake_file(builds: Builds, *, push: Collection[str] = (), check: bool = False) -> dict[str, Any]:
    """One group with a target for each service, with the names that Docker Compose gives them; values that are not set are
    left out. `push`: services whose images are pushed; `check`: the Dockerfiles are only checked."""
    names = target_names([service.name for service, _ in builds])
    targets = {
        names[service.name]: _target(service, spec, names, push=service.name in push, check=check)
        for service, spec in builds
    }
    return {
        "group": {"default": {"targets": list(targets)}},
        "target": {name: targets[name] for name in sorted(targets)},
    }


def target_names(services: Sequence[str]) -> dict[str, str]:
    """Service → its target. Names of targets have no dots; a second service with the same resulting name gets another
    `_`."""
    names: dict[str, str] = {}
    for service in sorted(services):
        name = service.replace(".", "_")
        while name in names.values():
            name += "_"
        names[service] = name
    return names


def _target(
    service: DesiredService, spec: BuildSpec, names: Mapping[str, str], *, push: bool, check: bool
) -> dict[str, Any]:
    inline = spec.dockerfile_inline is not None
    entitlements = [*spec.entitlements, *(["security.insecure"] if spec.privileged else [])]
    found = {
        "context": spec.context,
        "contexts": {key: _context(value, names) for key, value in sorted(spec.additional_contexts.items())},
        "dockerfile": "" if inline else _dockerfile(spec),
        "dockerfile-inline": literal(spec.dockerfile_inline or ""),
        "args": {key: literal(value) for key, value in sorted(_arguments(spec).items())},
        "labels": dict(sorted(spec.labels.items())),
        "tags": [*(tag for tag in spec.tags if tag != service.image), service.image],
        "cache-from": list(spec.cache_from),
        "cache-to": list(spec.cache_to),
        "target": spec.target,
        "secret": [_secret(secret) for secret in spec.secrets],
        "ssh": [key if "=" in key else f"{key}=" for key in spec.ssh],
        "platforms": list(spec.platforms),
        "pull": spec.pull,
        "no-cache": spec.no_cache,
        "network": spec.network,
        "no-cache-filter": list(spec.no_cache_filter),
        "shm-size": str(spec.shm_size or ""),
        "ulimits": [_ulimit(limit.name, limit.soft, limit.hard) for limit in spec.ulimits],
        "call": "lint" if check else "",
        "entitlements": entitlements,
        "extra-hosts": dict(spec.extra_hosts),
        "output": [] if check else [_output(spec, push=push)],
        "attest": _attestations(service.build) if service.build else [],
    }
    return {key: value for key, value in found.items() if value}


def literal(text: str) -> str:
    """Text in which bake expands no variable."""
    return text.replace("${", "$${")


def _arguments(spec: BuildSpec) -> dict[str, str]:
    """Arguments without a value take it from the caller, or are not passed."""
    given = {key: spec.environ.get(key) if value is None else value for key, value in spec.args.items()}
    return {key: value for key, value in given.items() if value is not None}


def _context(value: str, names: Mapping[str, str]) -> str:
    service = value.removeprefix("service:")
    return value if service == value else f"target:{names[service]}"


def _dockerfile(spec: BuildSpec) -> str:
    """Below a local context it is named by its path."""
    return os.path.join(spec.context, spec.dockerfile) if os.path.isabs(spec.context) else spec.dockerfile


def _secret(secret: BuildSecret) -> str:
    if secret.environment:
        return f"id={secret.id},type=env,env={secret.environment}"
    return f"id={secret.id},type=file,src={secret.file}"


def _ulimit(name: str, soft: int, hard: int) -> str:
    return f"{name}={soft}" if soft == hard else f"{name}={soft}:{hard}"


def _attestations(spec: BuildSpec) -> list[str]:
    """The settings in the file; flags are passed beside it."""
    wanted = {"provenance": spec.provenance, "sbom": spec.sbom}
    given = {kind: options for kind, options in wanted.items() if options not in ("", "false")}
    return [f"type={kind}" + (f",{options}" if options != "true" else "") for kind, options in given.items()]


def _output(spec: BuildSpec, *, push: bool) -> str:
    if len(spec.platforms) > 1:
        return f"type=image,push={str(push).lower()}"
    return "type=registry" if push else "type=docker"
