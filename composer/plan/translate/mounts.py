"""The mounts of a container: volumes, tmpfs, configs, secrets."""

from __future__ import annotations

from composer.model.mount import BindOptions, ImageOptions, TmpfsOptions, VolumeOptions
from composer.model.mount import Mount as Wanted
from composer.plan.translate import volumes
from composer.plan.translate.files import files
from composer.plan.translate.images import checked
from composer.plan.translate.scope import Scope
from engine.spec.container import Mount
from engine.vocabulary import MOUNT_TYPES, PROPAGATIONS

_RECURSIVE = ("enabled", "disabled", "writable", "readonly")
_ANSWERS = {
    "npipe": "named pipes exist on Windows only",
    "cluster": "cluster volumes need a Swarm",
}


def _drive(target: str) -> str:
    """A hint for `v:/data`, which Compose reads as a path on a Windows drive."""
    if target[:1].isalpha() and target[1:3] == ":/":
        return f"\n  for a volume {target[0]!r}, use type, source and target: its name looks like a Windows drive"
    return ""


def mounts(scope: Scope) -> tuple[Mount, ...]:
    """The mounts. A duplicate target is refused as ambiguous."""
    found: list[Mount] = []
    seen: dict[str, str] = {}

    def add(mount: Mount | None, path: tuple[str | int, ...]) -> None:
        if mount is None:
            return
        target = mount.target.rstrip("/") or "/"
        if not mount.target.startswith("/"):
            scope.refuse(path, f"the target {mount.target!r} is not an absolute path{_drive(mount.target)}")
        elif target in seen:
            scope.refuse(path, f"the target {mount.target} is already used by {seen[target]}")
        else:
            seen[target] = ".".join(str(part) for part in path)
            found.append(mount)

    for index, wanted in enumerate(scope.service.volumes):
        for kind in MOUNT_TYPES:
            if kind != wanted.type and getattr(wanted, kind) is not None:
                scope.warn(("volumes", index), f"mount of type `{wanted.type}` should not define `{kind}` option")
        add(_mount(scope, index, wanted), ("volumes", index))
    for index, text in enumerate(scope.service.tmpfs):
        target, _, options = text.partition(":")
        words = tuple(word for word in options.split(",") if word)
        add(Mount(type="tmpfs", target=target, options=words), ("tmpfs", index))
    for kind in ("configs", "secrets"):
        for index, mount in enumerate(files(scope, kind)):
            add(mount, (kind, index))
    return tuple(found)


def _mount(scope: Scope, index: int, wanted: Wanted) -> Mount | None:
    path = ("volumes", index)
    if wanted.type == "bind":
        bind = wanted.bind or BindOptions()
        if bind.propagation and bind.propagation not in PROPAGATIONS:
            known = ", ".join(PROPAGATIONS)
            scope.refuse((*path, "bind", "propagation"), f"{bind.propagation!r} is not one of {known}")
        if bind.recursive and bind.recursive not in _RECURSIVE:
            scope.refuse((*path, "bind", "recursive"), f"{bind.recursive!r} is not one of {', '.join(_RECURSIVE)}")
        if bind.recursive == "readonly" and not wanted.read_only:
            scope.refuse((*path, "bind", "recursive"), "'readonly' needs read_only: true")
        return Mount(
            type="bind",
            source=wanted.source,
            target=wanted.target,
            read_only=wanted.read_only,
            propagation=bind.propagation,
            create_host_path=bind.create_host_path,
            recursive=bind.recursive,
            selinux=bind.selinux,
        )
    if wanted.type == "volume":
        return _volume(scope, path, wanted)
    if wanted.type == "tmpfs":
        tmpfs = wanted.tmpfs or TmpfsOptions()
        return Mount(type="tmpfs", target=wanted.target, read_only=wanted.read_only, size=tmpfs.size, mode=tmpfs.mode)
    if wanted.type == "image":
        if not wanted.source:
            scope.refuse(path, "a mount of type image needs a source: the image's name")
            return None
        if not checked(scope, (*path, "source"), wanted.source):
            return None
        image = wanted.image or ImageOptions()
        return Mount(
            type="image", source=wanted.source, target=wanted.target, read_only=wanted.read_only, subpath=image.subpath
        )
    why = _ANSWERS.get(wanted.type, "known are bind, volume, tmpfs, image")
    scope.refuse((*path, "type"), f"{wanted.type!r} is not supported: {why}")
    return None


def _volume(scope: Scope, path: tuple[str, int], wanted: Wanted) -> Mount | None:
    options = wanted.volume or VolumeOptions()
    source = ""
    if wanted.source:
        if wanted.source not in scope.project.volumes:
            scope.refuse((*path, "source"), f"the project has no volume {wanted.source!r}")
            return None
        source = volumes.engine_name(scope.project, wanted.source)
    return Mount(
        type="volume",
        source=source,
        target=wanted.target,
        read_only=wanted.read_only,
        nocopy=options.nocopy,
        subpath=options.subpath,
        labels=dict(options.labels) if not source else {},
    )
