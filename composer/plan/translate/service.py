"""Translate one service from its parts."""

from __future__ import annotations

import re

from composer.model.hook import Hook as Wanted
from composer.plan.desired import MOST_REPLICAS, DesiredService, Hook, Provider
from composer.plan.naming import NAME
from composer.plan.translate import conflicts
from composer.plan.translate.addresses import check_names
from composer.plan.translate.build import build
from composer.plan.translate.dependencies import dependencies, volumes_from
from composer.plan.translate.devices import device_requests, devices
from composer.plan.translate.healthcheck import healthcheck
from composer.plan.translate.images import checked
from composer.plan.translate.labelling import container_labels
from composer.plan.translate.logging import logging
from composer.plan.translate.models import models
from composer.plan.translate.mounts import mounts
from composer.plan.translate.namespaces import namespaces
from composer.plan.translate.networks import attachments, links
from composer.plan.translate.ports import expose, ports
from composer.plan.translate.pre_start import pre_start
from composer.plan.translate.process import process
from composer.plan.translate.resources import resources
from composer.plan.translate.restart import restart
from composer.plan.translate.scope import Scope
from composer.plan.translate.security import security
from composer.plan.translate.summary import digest
from engine.spec.container import ContainerSpec


def service(scope: Scope) -> DesiredService:
    wanted = scope.service
    conflicts.check(scope)
    check_names(scope)
    hash_, summary = digest(scope)
    needed = dependencies(scope)
    container = _container(scope, container_labels(scope, hash_, needed))
    return DesiredService(
        name=scope.name,
        hash=hash_,
        image=checked(scope, ("image",), scope.image) if wanted.provider is None or wanted.build is not None else "",
        provider=provider(scope),
        models=models(scope),
        container=container,
        build=build(scope),
        pull_policy=pull_policy(scope),
        platform=scope.platform,
        scale=scale(scope) if wanted.provider is None else 0,
        container_name=_container_name(scope),
        depends_on=needed,
        pre_start=pre_start(scope),
        post_start=hooks(scope, "post_start", wanted.post_start),
        pre_stop=hooks(scope, "pre_stop", wanted.pre_stop),
        attach=wanted.attach is not False,
        api_socket=wanted.use_api_socket,
        summary=summary,
    )


def _container(scope: Scope, labels: dict[str, str]) -> ContainerSpec:
    return ContainerSpec(
        name="",
        image="",
        image_ref=scope.image,
        labels=labels,
        networks=attachments(scope),
        links=links(scope),
        ports=ports(scope),
        expose=expose(scope),
        mounts=mounts(scope),
        volumes_from=volumes_from(scope),
        devices=devices(scope),
        device_requests=device_requests(scope),
        resources=resources(scope),
        healthcheck=healthcheck(scope),
        restart=restart(scope),
        logging=logging(scope),
        **process(scope),
        **namespaces(scope),
        **security(scope),
    )


def provider(scope: Scope) -> Provider | None:
    """The provider. Providers run before any container starts, so a provider that waited for containers would never
    finish."""
    wanted = scope.service.provider
    if wanted is None:
        return None
    for name in scope.service.depends_on:
        other = scope.project.services.get(name)
        if other is not None and other.provider is None:
            scope.refuse(("depends_on", name), "a provider service can only depend on other provider services")
    service = scope.service
    image = scope.image if service.image or service.build is not None else ""
    return Provider(type=wanted.type, options=dict(wanted.options), image=image, named=bool(service.image))


def _container_name(scope: Scope) -> str:
    name = scope.service.container_name
    if name and not re.fullmatch(NAME, name):
        scope.refuse(("container_name",), f"{name!r} does not match {NAME}")
    return name


def scale(scope: Scope) -> int:
    """`scale`, else deploy.replicas, else 1. With container_name there can be only one container, because names are
    unique."""
    wanted = scope.service
    replicas = wanted.deploy.replicas if wanted.deploy else None
    number = wanted.scale if wanted.scale is not None else replicas if replicas is not None else 1
    key: tuple[str, ...] = ("scale",) if wanted.scale is not None else ("deploy", "replicas")
    if wanted.scale is not None and replicas is not None and wanted.scale != replicas:
        scope.refuse(("scale",), f"is {wanted.scale}, but deploy.replicas is {replicas}: give only one of them")
    if number < 0:
        scope.refuse(key, f"{number} is negative")
    if number > MOST_REPLICAS:
        scope.refuse(key, f"{number} containers exceed the limit of {MOST_REPLICAS} per service")
        return 1
    if number > 1 and wanted.container_name:
        scope.refuse(
            key,
            f"{number} containers cannot all have the name {wanted.container_name!r}: remove container_name to scale",
        )
    return number


def pull_policy(scope: Scope) -> str:
    """The pull policy. `refresh` pulls again after pull_refresh_after; `if_not_present` is a synonym of `missing`."""
    wanted = scope.service
    if wanted.pull_policy == "refresh":
        return f"every_{wanted.pull_refresh_after}" if wanted.pull_refresh_after else "always"
    return "missing" if wanted.pull_policy == "if_not_present" else wanted.pull_policy


def hooks(scope: Scope, key: str, wanted: tuple[Wanted, ...]) -> tuple[Hook, ...]:
    found = []
    for index, hook in enumerate(wanted):
        if not hook.command:
            scope.refuse((key, index), "command is required")
            continue
        found.append(
            Hook(
                command=hook.command,
                user=hook.user,
                privileged=hook.privileged,
                working_dir=hook.working_dir,
                environment=dict(hook.environment),
            )
        )
    return tuple(found)
