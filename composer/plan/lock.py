"""composer.lock, and a project pinned to it.

The file pins everything that a project fetches to the digest or commit at the time of `composer lock`:

{"version": 1,
 "images": {"redis:7": "sha256:…"},                      digests in the registry
 "local_images": {"app:dev": "sha256:…"},                ids of images that only this machine has
 "files": {"https://…/x.tar": "sha256:…",                downloads of Dockerfiles
           "https://github.com/a/b.git#main": "…",       repositories of compose files and of builds: commits
           "oci://…/shop:1": "sha256:…"}}                compose files of registries
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from msgspec import Meta, Struct, structs

from composer.plan.desired import Desired, DesiredService
from engine.image.reference import is_id, parse
from engine.spec.container import ContainerSpec
from engine.vocabulary import COMMIT, DIGEST

Digest = Annotated[str, Meta(pattern=rf"\A{DIGEST}\Z")]
Pin = Annotated[str, Meta(pattern=rf"\A({DIGEST}|{COMMIT})\Z")]
"""A digest, or a commit."""
NAME = "composer.lock"
VERSION = 1


class Lock(Struct, kw_only=True, forbid_unknown_fields=True):
    """The file's content, with image names as the user writes them."""

    version: int = VERSION
    images: dict[str, Digest] = {}
    local_images: dict[str, Digest] = {}
    files: dict[str, Pin] = {}

    @classmethod
    def of(cls, pins: Mapping[str, str]) -> Lock:
        """From BuildSpec.pins."""
        lock = cls()
        for name, pin in sorted(pins.items()):
            if is_id(pin) and _is_image(name):
                lock.local_images[parse(name).familiar] = pin
            elif "@" in pin:
                lock.images[parse(name).familiar] = pin.rpartition("@")[2]
            else:
                lock.files[name] = pin
        return lock

    @property
    def pins(self) -> dict[str, str]:
        """As in BuildSpec.pins."""
        found = {}
        for name, digest in self.images.items():
            full = str(parse(name))
            found[full] = f"{full}@{digest}"
        found |= {str(parse(name)): image_id for name, image_id in self.local_images.items()}
        return found | self.files


def _is_image(name: str) -> bool:
    return "://" not in name and "#" not in name and not name.startswith("git@")


def built_here(desired: Desired) -> dict[str, str]:
    """Pins for tags that the project's own builds create: such tags are not locked."""
    tags = {str(parse(tag)) for one in desired.every() if one.build for tag in one.build.tags}
    return {tag: tag for tag in sorted(tags)}


def images_of(desired: Desired) -> dict[str, str]:
    """The images that services, mounts and hooks use and that no build creates: full reference → platform."""
    found: dict[str, str] = {}
    for service in desired.every():
        if service.build is None and service.image:
            found[service.image] = service.platform
        found.update(dict.fromkeys(service.mounted_images, ""))
        found.update((hook.image, hook.platform) for hook in service.pre_start)
    mine = built_here(desired)
    return {name: platform for name, platform in found.items() if not _fixed(name) and full_name(name) not in mine}


def _fixed(name: str) -> bool:
    return is_id(name) or "@" in name


def full_name(name: str) -> str:
    """The full form of a reference, with registry and tag."""
    return str(parse(name))


def locked(desired: Desired, lock: Lock) -> Desired:
    """The project with every image and build pinned to the lock. A service that needs anything that is not in the lock
    is refused (composer.plan.refusal)."""
    pins = lock.pins | built_here(desired)
    services = {name: _locked(one, pins) for name, one in desired.services.items()}
    jobs = {name: structs.replace(job, service=_locked(job.service, pins)) for name, job in desired.jobs.items()}
    return structs.replace(desired, services=services, jobs=jobs)


def _locked(service: DesiredService, pins: Mapping[str, str]) -> DesiredService:
    missing = [name for name in _named(service) if not _fixed(name) and full_name(name) not in pins]
    if missing:
        start = f"service {service.name}: {NAME} has no entry for the image"
        lines = [f"{start} {name}: run `composer lock`" for name in missing]
        return structs.replace(service, refused=(*service.refused, *lines))

    def pin(name: str) -> str:
        return name if not name or _fixed(name) else _pinned(name, pins[full_name(name)])

    def mounts(container: ContainerSpec) -> ContainerSpec:
        changed = (
            structs.replace(mount, source=pin(mount.source)) if mount.type == "image" else mount
            for mount in container.mounts
        )
        return structs.replace(container, mounts=tuple(changed))

    hooks = tuple(
        structs.replace(hook, image=pin(hook.image), container=mounts(hook.container)) for hook in service.pre_start
    )
    return structs.replace(
        service,
        image=service.image if service.build is not None else pin(service.image),
        container=mounts(service.container),
        pre_start=hooks,
        build=service.build and structs.replace(service.build, pins=dict(pins)),
    )


def _named(service: DesiredService) -> Iterable[str]:
    if service.image and service.build is None:
        yield service.image
    yield from service.mounted_images
    yield from (hook.image for hook in service.pre_start)


def _pinned(name: str, pin: str) -> str:
    """The pinned name. A tag that the project builds itself stays unchanged."""
    return name if pin == full_name(name) else pin
