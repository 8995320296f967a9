"""Translate services.*.build to a BuildSpec."""

from __future__ import annotations

from composer.model import Project
from composer.model.build import Build
from composer.plan import labels
from composer.plan.translate.files import definition
from composer.plan.translate.images import checked
from composer.plan.translate.process import extra_hosts, ulimits
from composer.plan.translate.scope import Scope
from composer.release import COMPOSE
from engine.spec.image import BuildSecret, BuildSpec


def _own_labels(scope: Scope) -> dict[str, str]:
    return {labels.PROJECT: scope.project.name, labels.SERVICE: scope.name, labels.VERSION: COMPOSE}


def build(scope: Scope) -> BuildSpec | None:
    wanted = scope.service.build
    if wanted is None:
        return None
    platform = scope.service.platform
    if platform and wanted.platforms and platform not in wanted.platforms:
        scope.refuse(("build", "platforms"), f"must include the service's platform, {platform}")
    for index, tag in enumerate(wanted.tags):
        checked(scope, ("build", "tags", index), tag)
    return BuildSpec(
        context=wanted.context,
        dockerfile=wanted.dockerfile or "Dockerfile",
        dockerfile_inline=wanted.dockerfile_inline,
        tags=tuple(dict.fromkeys((scope.image, *wanted.tags))),
        args=dict(wanted.args),
        target=wanted.target,
        labels={**wanted.labels, **_own_labels(scope)},
        platforms=_platforms(scope, wanted.platforms),
        additional_contexts=dict(wanted.additional_contexts),
        cache_from=wanted.cache_from,
        cache_to=wanted.cache_to,
        no_cache=wanted.no_cache,
        no_cache_filter=wanted.no_cache_filter,
        pull=wanted.pull,
        network=wanted.network,
        extra_hosts=extra_hosts(wanted.extra_hosts),
        privileged=wanted.privileged,
        entitlements=wanted.entitlements,
        shm_size=wanted.shm_size,
        ulimits=ulimits(wanted.ulimits),
        provenance=_option_text(wanted.provenance),
        sbom=_option_text(wanted.sbom),
        secrets=_secrets(scope),
        ssh=wanted.ssh,
        environ=_environ(scope.project, wanted),
    )


def _option_text(value: str | bool | None) -> str:
    """`true`, `false` or options; "" if unset."""
    return value if isinstance(value, str) else str(value).lower() if value is not None else ""


def _platforms(scope: Scope, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The service's platform only, or the default platform only if the build lists it, otherwise all platforms of the
    build."""
    if scope.platform and (scope.service.platform or not wanted or scope.platform in wanted):
        return (scope.platform,)
    return wanted


def _secrets(scope: Scope) -> tuple[BuildSecret, ...]:
    assert scope.service.build is not None
    found = []
    for index, reference in enumerate(scope.service.build.secrets):
        path = ("build", "secrets", index)
        secret = definition(scope.project, "secrets", reference.source)
        if secret is None:
            scope.refuse(path, f"the project has no secret {reference.source!r}")
        elif not secret.file and not secret.environment:
            scope.refuse(path, "builds support only secrets with file or environment")
        else:
            name = reference.target
            if name in ("", f"/run/secrets/{reference.source}"):
                name = reference.source
            found.append(BuildSecret(id=name, file=secret.file or "", environment=secret.environment or ""))
    return tuple(found)


def variables_of(project: Project, wanted: Build) -> set[str]:
    """Names of the variables that a build may read: arguments without a value, secrets, SSH_AUTH_SOCK,
    SOURCE_DATE_EPOCH."""
    names = {name for name, value in wanted.args.items() if value is None}
    names |= {"SSH_AUTH_SOCK"} if wanted.ssh else set()
    names.add("SOURCE_DATE_EPOCH")
    secrets = (definition(project, "secrets", reference.source) for reference in wanted.secrets)
    return names | {secret.environment for secret in secrets if secret is not None and secret.environment}


def _environ(project: Project, wanted: Build) -> dict[str, str]:
    """The values of those variables. A secret of an included project may have its own value."""
    found = {name: project.environ[name] for name in sorted(variables_of(project, wanted)) if name in project.environ}
    for reference in wanted.secrets:
        secret = definition(project, "secrets", reference.source)
        if secret is not None and secret.environment and secret.content is not None:
            found[secret.environment] = secret.content
    return found
