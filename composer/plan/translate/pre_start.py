"""pre_start hooks: containers that run to completion before the first container of a service starts.

A hook can have every key of a container. It inherits from its service as an override file does: mappings are merged,
lists are appended, anything else is replaced. It mounts the volumes of the service's container (volumes_from), so that
it can prepare them.
"""

from __future__ import annotations

from typing import Any

from composer.model import Service
from composer.model.container import Container
from composer.model.hook import PreStartHook
from composer.plan import labels
from composer.plan.desired import PreStart
from composer.plan.translate.dependencies import volumes_from
from composer.plan.translate.devices import device_requests, devices
from composer.plan.translate.labelling import project_labels
from composer.plan.translate.logging import logging
from composer.plan.translate.mounts import mounts
from composer.plan.translate.namespaces import namespaces
from composer.plan.translate.networks import attachments
from composer.plan.translate.process import process
from composer.plan.translate.resources import resources
from composer.plan.translate.scope import Scope
from composer.plan.translate.security import security
from composer.release import COMPOSE
from engine.spec.container import ContainerSpec, Healthcheck

_OWN = frozenset(("volumes", "tmpfs"))
"""Keys that a hook does not inherit. Volumes come from the service's container."""


def pre_start(scope: Scope) -> tuple[PreStart, ...]:
    """The service's hooks, in order."""
    return tuple(_hook(_HookScope(scope, index)) for index, _ in enumerate(scope.service.pre_start))


class _HookScope(Scope):
    """A hook viewed as a service with the inherited keys. Problems of the hook's own keys have the hook's path.
    Problems of inherited keys are already reported for the service."""

    def __init__(self, scope: Scope, index: int) -> None:
        super().__init__(scope.project, scope.name, scope.problems)
        self.index = index
        self.hook = scope.service.pre_start[index]
        self.parent = scope
        self.service = _inheriting(scope.service, self.hook)

    def refuse(self, path: tuple[str | int, ...], why: str) -> None:
        if path[0] in self.hook.model_fields_set:
            self.parent.refuse(("pre_start", self.index, *path), why)

    def warn(self, path: tuple[str | int, ...], why: str) -> None:
        if path[0] in self.hook.model_fields_set:
            self.parent.warn(("pre_start", self.index, *path), why)

    @property
    def image(self) -> str:
        return self.hook.image or self.parent.image


def _inheriting(service: Service, hook: PreStartHook) -> Service:
    """A service with the keys that hooks and services share; the hook's values win."""
    found: dict[str, Any] = {key: getattr(service, key) for key in Container.model_fields if key not in _OWN}
    for key in hook.model_fields_set & Container.model_fields.keys():
        before, given = found.get(key), getattr(hook, key)
        if key in ("command", "entrypoint"):
            found[key] = before if given is None else given
        elif isinstance(given, dict) and isinstance(before, dict):
            found[key] = {**before, **given}
        elif isinstance(given, tuple) and isinstance(before, tuple):
            found[key] = _grown(before, given)
        else:
            found[key] = given
    if "network_mode" in hook.model_fields_set:
        found["networks"] = {}
    return Service.model_construct(**found)


def _grown(before: tuple[Any, ...], given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Both lists joined, without earlier entries whose target a later one repeats."""
    targets = {getattr(entry, "target", None) for entry in given} - {None}
    kept = [entry for entry in before if getattr(entry, "target", None) not in targets]
    found: list[Any] = []
    for entry in (*kept, *given):
        if entry not in found:
            found.append(entry)
    return tuple(found)


def _hook(scope: _HookScope) -> PreStart:
    name, index, hook = scope.name, scope.index, scope.hook
    if hook.per_replica:
        scope.refuse(
            ("per_replica",),
            f'service "{name}" pre_start[{index}]: per_replica is not yet supported; remove per_replica or set it to false',
        )
    container = ContainerSpec(
        name="",
        image="",
        image_ref=scope.image,
        labels={
            **scope.service.labels,
            **project_labels(scope),
            labels.VERSION: COMPOSE,
            labels.HOOK: labels.PRE_START,
        },
        networks=attachments(scope),
        mounts=mounts(scope),
        volumes_from=(f"service:{name}", *volumes_from(scope)),
        devices=devices(scope),
        device_requests=device_requests(scope),
        resources=resources(scope),
        logging=logging(scope),
        healthcheck=Healthcheck(test=("NONE",)),
        **process(scope),
        **namespaces(scope),
        **security(scope),
    )
    own = {"pull_policy": hook.pull_policy} if hook.pull_policy else {}
    policy = own.get("pull_policy", scope.parent.service.pull_policy if not hook.image else "")
    return PreStart(image=scope.image, platform=scope.platform, pull_policy=policy, container=container)
