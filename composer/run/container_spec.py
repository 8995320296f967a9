"""From a service to the specification of one of its containers: name, number, labels, image, the containers it joins."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import msgspec

from composer.plan import labels, recreation
from composer.plan.desired import Desired, DesiredService
from composer.release import COMPOSE
from engine.errors import NotFound
from engine.spec.container import ContainerSpec, Mount
from engine.spec.state import ContainerRecord

MODES = ("network_mode", "pid_mode", "ipc_mode", "uts_mode", "cgroup_mode")

Find = Callable[[str], str]
"""From "service:web" or "container:name" to the id of a container. Raises NotFound."""


def specification(
    desired: Desired, service: DesiredService, number: int, name: str, images: Mapping[str, str], find: Find
) -> ContainerSpec:
    """The specification of container `number` of the service. `images` maps references to their current ids. Raises NotFound
    for a missing image, or a missing container to join."""
    known = {
        labels.PROJECT: desired.project,
        labels.WORKING_DIR: desired.working_dir,
        labels.CONFIG_FILES: ",".join(desired.config_files),
        labels.SERVICE: service.name,
        labels.ONEOFF: "False",
        labels.DEPENDS_ON: ",".join(f"{d.service}:{d.condition}:{json.dumps(d.restart)}" for d in service.depends_on),
        labels.VERSION: COMPOSE,
    }
    image = image_id(service.wanted_image or service.container.image, images, service.name)
    own = {labels.NUMBER: str(number), labels.IMAGE: image, **configuration(service)}
    return joined(
        msgspec.structs.replace(
            service.container,
            name=name,
            image=image,
            image_ref=service.container.image_ref or service.image,
            labels={**known, **service.container.labels, **own},
            mounts=mounts(service.container, images, service.name),
        ),
        find,
    )


def configuration(service: DesiredService) -> dict[str, str]:
    """The labels that show whether the container's service has changed since."""
    return {labels.HASH: service.hash, labels.SUMMARY: recreation.summary_text(service)}


def with_image(spec: ContainerSpec, image: str) -> ContainerSpec:
    """The specification, made from the image with this id."""
    own = {**spec.labels, labels.IMAGE: image}
    return msgspec.structs.replace(spec, image=image, image_ref=spec.image_ref or spec.image, labels=own)


def image_id(reference: str, images: Mapping[str, str], service: str) -> str:
    """The id of the service's image. Raises NotFound."""
    if reference.startswith("sha256:"):
        return reference
    found = images.get(reference, "")
    if not found:
        raise NotFound(
            "image", reference, hint=f"Pull or build it first: composer pull {service}, composer build {service}."
        )
    return found


def mounts(spec: ContainerSpec, images: Mapping[str, str], service: str) -> tuple[Mount, ...]:
    """The mounts, with ids in place of image references. Raises NotFound."""
    return tuple(
        msgspec.structs.replace(mount, source=image_id(mount.source, images, service))
        if mount.type == "image"
        else mount
        for mount in spec.mounts
    )


def joined(spec: ContainerSpec, find: Find) -> ContainerSpec:
    """The specification with container ids in place of services and names whose namespaces or volumes it uses."""
    changes: dict[str, object] = {}
    for field in MODES:
        mode = getattr(spec, field)
        if mode.startswith(("service:", "container:")):
            changes[field] = f"container:{find(mode)}"
    sources = []
    for source in spec.volumes_from:
        kind, name, mode = _volumes_from(source)
        sources.append(f"container:{find(f'{kind}:{name}')}" + (f":{mode}" if mode else ""))
    if sources:
        changes["volumes_from"] = tuple(sources)
    return msgspec.structs.replace(spec, **changes) if changes else spec


def _volumes_from(source: str) -> tuple[str, str, str]:
    """Split [service:|container:]NAME[:ro|:rw]."""
    kind, colon, rest = source.partition(":")
    if kind not in ("service", "container") or not colon:
        kind, rest = "service", source
    name, _, mode = rest.partition(":")
    return kind, name, mode


def inheriting(spec: ContainerSpec, old: ContainerRecord) -> tuple[ContainerSpec, tuple[str, ...]]:
    """The specification with the anonymous volumes of the container that it replaces, and their names."""
    kept = {
        mount.target: mount
        for mount in old.spec.mounts
        if mount.type == "volume" and mount.source in old.state.anonymous_volumes
    }
    mounts: list[Mount] = []
    taken: list[str] = []
    for mount in spec.mounts:
        before = kept.pop(mount.target, None)
        if before is not None and mount.type == "volume" and not mount.source:
            mount = msgspec.structs.replace(mount, source=before.source)
            taken.append(before.source)
        mounts.append(mount)
    # The remaining volumes were declared by the old image. The new one most likely declares them, too.
    for before in kept.values():
        mounts.append(Mount(type="volume", target=before.target, source=before.source))
        taken.append(before.source)
    return msgspec.structs.replace(spec, mounts=tuple(mounts)), tuple(taken)
