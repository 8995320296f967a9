"""Whether the parts of a project fit together: every reference resolves, and no settings contradict each other."""

from __future__ import annotations

import json
from itertools import chain, islice

from composer.dependency_graph import CycleError, check_acyclic
from composer.load.check import job_rules
from composer.load.errors import REPORTED, LoadError, did_you_mean
from composer.load.resolve.structures import DEPLOY
from composer.load.tree.nodes import Map, origin_at

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from composer.load.tree.nodes import Path


def contradictions(tree: Map, disabled: Map) -> list[LoadError]:
    """The contradictions in a project, by service. `tree` is canonical; `disabled` are the services that no profile
    enables."""
    check = _Check(tree, disabled)
    services = chain.from_iterable(check.service(name) for name in tree["services"])
    jobs = chain.from_iterable(check.job(name) for name in check.jobs)
    errors = list(islice(chain(services, jobs, check.secrets()), REPORTED + 1))
    if len(errors) > REPORTED:
        errors[REPORTED:] = [LoadError("… and more problems like these")]
    return errors or check.cycles()


def shared_names(tree: Map) -> list[tuple[str, str, LoadError]]:
    """Service → the earlier service that already has its container name."""
    taken: dict[str, str] = {}
    errors = []
    for name, service in tree["services"].items():
        wanted = service.get("container_name")
        if not wanted:
            continue
        if wanted in taken:
            message = f'services.{name}: container name "{wanted}" is already in use by service {taken[wanted]}'
            error = LoadError(message, origin_at(tree, ("services", name, "container_name")))
            errors.append((name, taken[wanted], error))
        taken.setdefault(wanted, name)
    return errors


class _Check:
    def __init__(self, tree: Map, disabled: Map) -> None:
        self.tree, self.services, self.disabled = tree, tree["services"], disabled
        self.jobs: Map = tree.get("jobs", Map())
        self.section, self.word = "services", "service"

    def wrong(self, path: Path, message: str, hint: str = "") -> LoadError:
        return LoadError(message, origin_at(self.tree, path), hint)

    def service(self, name: str) -> Iterator[LoadError]:
        service = self.services[name]
        for rule in _RULES:
            yield from rule(self, name, service)

    def job(self, name: str) -> Iterator[LoadError]:
        self.section, self.word = "jobs", "job"
        for rule in _JOB_RULES:
            yield from rule(self, name, self.jobs[name])

    # ---- image and build

    def source(self, name: str, service: Map) -> Iterator[LoadError]:
        if "build" not in service and "image" not in service and "provider" not in service:
            yield self.wrong(
                (self.section, name),
                f"{self.word} {name!r} has neither an image nor a build context specified",
                "add image: or build:",
            )

    def build(self, name: str, service: Map) -> Iterator[LoadError]:
        build = service.get("build")
        if build is None:
            return
        place: Path = (self.section, name, "build")
        if "dockerfile_inline" in build and "dockerfile" in build:
            yield self.wrong(
                (*place, "dockerfile_inline"),
                f"{self.word} {name!r} declares mutually exclusive dockerfile and dockerfile_inline",
            )
        for key, context in build.get("additional_contexts", {}).items():
            if not context.startswith("service:"):
                continue
            target = context[len("service:") :]
            if target not in self.services:
                yield self.wrong(
                    (*place, "additional_contexts", key),
                    f"{self.word} {name!r} declares unknown service {target!r} as additional contexts {key}",
                    did_you_mean(target, self.services),
                )
            elif "build" not in self.services[target]:
                yield self.wrong(
                    (*place, "additional_contexts", key),
                    f"{self.word} {name!r} declares non-buildable service {target!r} as additional contexts {key}",
                )
        platform, platforms = service.get("platform"), build.get("platforms")
        if platform and platforms and platform not in platforms:
            yield self.wrong(
                (*place, "platforms"),
                f'{self.word} {name!r}: service.build.platforms MUST include service.platform "{platform}"',
            )
        for index, secret in enumerate(build.get("secrets", ())):
            yield from self.defined(name, "build secret", "secrets", secret, (*place, "secrets", index))

    # ---- references

    def networks(self, name: str, service: Map) -> Iterator[LoadError]:
        if service.get("network_mode") and service.get("networks"):
            yield self.wrong(
                (self.section, name, "network_mode"),
                f"{self.word} {name!r} declares mutually exclusive `network_mode` and `networks`",
            )
        known = self.tree.get("networks", {})
        for network in service.get("networks", ()):
            if network.startswith("x-"):
                yield self.wrong(
                    (self.section, name, "networks", network),
                    f'{self.word} "{name}": {network} is not a network: keys that start with x- are extensions',
                )
            elif network not in known and not (network == "default" and service.get("network_mode")):
                yield self.wrong(
                    (self.section, name, "networks", network),
                    f'{self.word} "{name}" refers to undefined network {network}',
                    did_you_mean(network, known) or f"declare it under networks: {network}:",
                )

    def depends_on(self, name: str, service: Map) -> Iterator[LoadError]:
        for other, dependency in service.get("depends_on", {}).items():
            if other in self.services or (other in self.disabled and not dependency["required"]):
                continue
            if other in self.jobs:
                continue
            hint = did_you_mean(other, [known for known in self.services if known != name])
            if other in self.disabled:
                profiles = ", ".join(self.disabled[other].get("profiles", ()))
                hint = f"it is disabled; its profiles are {profiles}"
            yield self.wrong(
                (self.section, name, "depends_on", other),
                f'{self.word} "{name}" depends on undefined service "{other}"',
                hint,
            )

    def network_mode(self, name: str, service: Map) -> Iterator[LoadError]:
        mode = service.get("network_mode", "")
        if mode.startswith("service:") and mode[len("service:") :] not in self.services:
            other = mode[len("service:") :]
            if other in service.get("depends_on", {}):
                return  # depends_on reports it
            yield self.wrong(
                (self.section, name, "network_mode"),
                f"service {other!r} not found for network_mode 'service:{other}'",
                did_you_mean(other, self.services),
            )

    def volumes(self, name: str, service: Map) -> Iterator[LoadError]:
        known = self.tree.get("volumes", {})
        for index, volume in enumerate(service.get("volumes", ())):
            source = volume.get("source")
            if volume.get("type") == "volume" and source and source not in known:
                yield self.wrong(
                    (self.section, name, "volumes", index),
                    f'{self.word} "{name}" refers to undefined volume {source}',
                    did_you_mean(source, known) or f"declare it under volumes:, or write ./{source} for a folder",
                )

    def files(self, name: str, service: Map) -> Iterator[LoadError]:
        for kind in ("configs", "secrets"):
            for index, mount in enumerate(service.get(kind, ())):
                yield from self.defined(name, kind[:-1], kind, mount, (self.section, name, kind, index))

    def models(self, name: str, service: Map) -> Iterator[LoadError]:
        known = self.tree.get("models", {})
        for model in service.get("models", ()):
            if model not in known:
                yield self.wrong(
                    (self.section, name, "models", model),
                    f'{self.word} "{name}" refers to undefined model {model}',
                    did_you_mean(model, known),
                )

    def defined(self, name: str, noun: str, kind: str, mount: Map, place: Path) -> Iterator[LoadError]:
        known = self.tree.get(kind, {})
        source = mount.get("source", "")
        if source not in known:
            yield self.wrong(
                place,
                f'{self.word} "{name}" refers to undefined {noun} {source}',
                did_you_mean(source, known) or f"declare it under {kind}:",
            )

    # ---- contradictory settings

    def healthcheck(self, name: str, service: Map) -> Iterator[LoadError]:
        test = service.get("healthcheck", {}).get("test")
        if test and test[0] not in ("CMD", "CMD-SHELL", "NONE"):
            yield self.wrong(
                (self.section, name, "healthcheck", "test"),
                f'{self.section}.{name}.healthcheck.test must start either by "CMD", "CMD-SHELL" or "NONE"',
                f'write ["CMD", {", ".join(json.dumps(word) for word in test)}], or one string for a shell',
            )

    def scale(self, name: str, service: Map) -> Iterator[LoadError]:
        deploy = service.get("deploy", {})
        scale, replicas = service.get("scale"), deploy.get("replicas")
        if scale is not None and replicas is not None and scale != replicas:
            yield self.wrong(
                (self.section, name, "scale"),
                f"{self.section}.{name}: can't set distinct values on 'scale' and 'deploy.replicas' ({scale}, {replicas})",
            )
        for key, value in (("scale", scale), ("deploy.replicas", replicas)):
            if value is not None and value < 0:
                yield self.wrong(
                    (self.section, name, *key.split(".")),
                    f"{self.section}.{name}.{key}: must be greater than or equal to 0",
                )
        number = scale if scale is not None else replicas if replicas is not None else 1
        if number > 1 and service.get("container_name"):
            key = "deploy.replicas" if scale is None else "scale"
            yield self.wrong(
                (self.section, name, "container_name"),
                f"{self.section}.{name}: can't set container_name and {key} as container name must be unique",
            )

    def resources(self, name: str, service: Map) -> Iterator[LoadError]:
        resources = service.get("deploy", {}).get("resources", {})
        for key, group, other in (
            ("cpus", "limits", "cpus"),
            ("mem_limit", "limits", "memory"),
            ("mem_reservation", "reservations", "memory"),
            ("pids_limit", "limits", "pids"),
        ):
            if key in service and group in resources and resources[group].get(other) != service[key]:
                yield self.wrong(
                    (self.section, name, key),
                    f"{self.section}.{name}: can't set distinct values on '{key}' and 'deploy.resources.{group}.{other}'",
                )

    def watch(self, name: str, service: Map) -> Iterator[LoadError]:
        for index, trigger in enumerate(service.get("develop", {}).get("watch", ())):
            if "target" not in trigger and trigger["action"] not in ("rebuild", "restart"):
                yield self.wrong(
                    (self.section, name, "develop", "watch", index),
                    f"{self.section}.{name}.develop.watch: target is required for non-rebuild actions",
                )

    def mounts(self, name: str, service: Map) -> Iterator[LoadError]:
        """Check that no two mounts have the same target."""
        taken: dict[str, str] = {}
        targets = [("tmpfs", i, path.partition(":")[0]) for i, path in enumerate(service.get("tmpfs", ()))]
        targets += [("volumes", i, volume.get("target", "")) for i, volume in enumerate(service.get("volumes", ()))]
        for kind, index, target in targets:
            here = f"{self.section}.{name}.{kind}[{index}]"
            if target in taken:
                yield self.wrong(
                    (self.section, name, kind, index), f"{here}: target {target} already mounted as {taken[target]}"
                )
            taken.setdefault(target, here)

    def secrets(self) -> Iterator[LoadError]:
        for name, secret in self.tree.get("secrets", {}).items():
            if not secret.get("external") and "file" not in secret and "environment" not in secret:
                yield self.wrong(("secrets", name), f'secret "{name}" must declare either `file` or `environment`')

    def cycles(self) -> list[LoadError]:
        everything = {**self.services, **self.jobs}
        needs = {name: everything[name].get("depends_on", ()) for name in everything}
        try:
            check_acyclic(needs)
        except CycleError as error:
            first, last = error.names[0], error.names[-1]
            section = "services" if last in self.services else "jobs"
            return [self.wrong((section, last, "depends_on", first), str(error))]
        return []


_RULES: tuple[Any, ...] = (
    _Check.source,
    _Check.build,
    _Check.networks,
    _Check.healthcheck,
    _Check.depends_on,
    _Check.network_mode,
    _Check.volumes,
    _Check.files,
    _Check.models,
    _Check.scale,
    _Check.resources,
    _Check.watch,
    _Check.mounts,
)

_JOB_RULES: tuple[Any, ...] = (
    job_rules.triggers,
    job_rules.limits,
    *(rule for rule in _RULES if rule not in (_Check.scale, _Check.resources, _Check.watch)),
)


def scaled(tree: Map) -> None:
    """Copy `scale` to `deploy.replicas`. The check has already excluded a contradiction."""
    for service in tree["services"].values():
        if "scale" in service and "deploy" in service:
            service["deploy"]["replicas"] = service["scale"]
            DEPLOY.arrange(service["deploy"])
