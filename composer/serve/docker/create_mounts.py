"""Translate a client's mounts: Binds, Mounts, Tmpfs and Volumes (HostConfig of the Docker Engine API 1.55)."""

from __future__ import annotations

import os
from collections.abc import Callable

from msgspec import structs

from composer.serve.docker import body
from composer.serve.http.errors import BadRequest
from engine.spec.container import Mount
from engine.vocabulary import MOUNT_TYPES, PROPAGATIONS


def mounts(payload: body.Create, host: body.HostConfig) -> tuple[Mount, ...]:
    """All mounts. Each target may occur once; volumes without a source are anonymous. Raises BadRequest."""
    found: dict[str, Mount] = {}
    wanted = [_bind(text) for text in host.binds or ()]
    wanted += [_mount(one) for one in host.mounts or ()]
    wanted += [_tmpfs(target, options) for target, options in (host.tmpfs or {}).items()]
    for mount in wanted:
        target = mount.target.rstrip("/") or "/"
        if target in found:
            raise BadRequest(f"Duplicate mount point: {target}")
        found[target] = mount
    for target in sorted(payload.volumes or ()):
        plain = target.rstrip("/") or "/"
        if not target.startswith("/"):
            raise BadRequest(f"invalid mount path: '{target}' mount path must be absolute")
        found.setdefault(plain, Mount(type="volume", target=plain))
    return tuple(found.values())


def _bind(text: str) -> Mount:
    """Parse `source:target[:options]`, or a target alone for an anonymous volume."""
    parts = text.split(":")
    if len(parts) == 1:
        source, target, options = "", parts[0], ""
    elif len(parts) == 2:
        source, target, options = parts[0], parts[1], ""
    elif len(parts) == 3:
        source, target, options = parts
    else:
        raise BadRequest(f"invalid volume specification: '{text}'")
    bind = source.startswith("/")
    _check_target(text, target, bind=bind)
    values = _modes(options)
    if ("copy" if bind else "propagation") in values:
        raise BadRequest(f"invalid mode: {options}")
    return Mount(
        type="bind" if bind else "volume",
        source=source,
        target=target,
        read_only=values.get("access") == "ro",
        propagation=values.get("propagation", ""),
        selinux=values.get("selinux", ""),
        nocopy=values.get("copy") == "nocopy",
    )


def _check_target(text: str, target: str, *, bind: bool) -> None:
    if not target.startswith("/"):
        kind = "bind" if bind else "volume"
        raise BadRequest(
            f"invalid volume specification: '{text}': invalid mount config for type \"{kind}\": "
            f"invalid mount path: '{target}' mount path must be absolute"
        )
    if target.rstrip("/") == "":
        raise BadRequest(
            f"invalid volume specification: '{text}': invalid mount config for type \"bind\": "
            "invalid specification: destination can't be '/'"
        )


def _modes(options: str) -> dict[str, str]:
    """Kind of option → the option."""
    found: dict[str, str] = {}
    for word in filter(None, options.split(",")):
        kind = (
            "access" if word in ("ro", "rw") else "selinux" if word in ("z", "Z")
            else "propagation" if word in PROPAGATIONS else "copy" if word in ("nocopy", "copy")
            else "consistency" if word in ("consistent", "cached", "delegated") else ""
        )  # fmt: skip
        if not kind or kind in found:
            raise BadRequest(f"invalid mode: {options}")
        found[kind] = word
    return found


def _mount(payload: body.Mount) -> Mount:
    kind, source, target = payload.type or "volume", payload.source or "", payload.target or ""

    def refuse(reason: str) -> BadRequest:
        return BadRequest(f'invalid mount config for type "{kind}": {reason}')

    if kind not in MOUNT_TYPES:
        raise refuse("mount type unknown")
    if not target:
        raise refuse("field Target must not be empty")
    if not target.startswith("/"):
        raise refuse(f"invalid mount path: '{target}' mount path must be absolute")
    for name, options, allowed in (
        ("BindOptions", payload.bind_options, "bind"),
        ("VolumeOptions", payload.volume_options, "volume"),
        ("ImageOptions", payload.image_options, "image"),
        ("TmpfsOptions", payload.tmpfs_options, "tmpfs"),
    ):
        if options is not None and kind != allowed:
            raise refuse(f"field {name} must not be specified")
    base = Mount(type=kind, source=source, target=target, read_only=bool(payload.read_only))
    if kind == "bind":
        return _bind_mount(payload, base, refuse)
    if kind == "volume":
        return _volume_mount(payload, base, refuse)
    if kind == "image":
        if not source:
            raise refuse("field Source must not be empty")
        return structs.replace(
            base, read_only=True, subpath=(payload.image_options and payload.image_options.subpath) or ""
        )
    if source:
        raise refuse("field Source must not be specified")
    options = payload.tmpfs_options or body.TmpfsOptions()
    words = tuple("=".join(pair) for pair in options.options or ())
    return structs.replace(base, size=options.size_bytes or 0, mode=options.mode or None, options=words)


def _bind_mount(payload: body.Mount, base: Mount, refuse: Callable[[str], BadRequest]) -> Mount:
    options = payload.bind_options or body.BindOptions()
    if not base.source:
        raise refuse("field Source must not be empty")
    if not base.source.startswith("/"):
        raise refuse(f"invalid mount path: '{base.source}' mount path must be absolute")
    if options.propagation and options.propagation not in PROPAGATIONS:
        raise refuse(f'invalid propagation mode: "{options.propagation}"')
    if not options.create_mountpoint and not os.path.lexists(base.source):
        raise refuse(f"bind source path does not exist: {base.source}")
    recursive = (
        "disabled" if options.non_recursive
        else "writable" if options.read_only_non_recursive
        else "readonly" if options.read_only_force_recursive else ""
    )  # fmt: skip
    return structs.replace(
        base,
        propagation=options.propagation or "",
        create_host_path=bool(options.create_mountpoint),
        recursive=recursive,
    )


def _volume_mount(payload: body.Mount, base: Mount, refuse: Callable[[str], BadRequest]) -> Mount:
    options = payload.volume_options or body.VolumeOptions()
    driver = options.driver_config or body.DriverConfig()
    if driver.name not in (None, "", "local"):
        raise refuse(f'plugin "{driver.name}" not found')
    if driver.options:
        raise refuse("VolumeOptions.DriverConfig.Options is not supported here: create the volume first")
    if not base.source and options.subpath:
        raise refuse("must not set Subpath when using anonymous volumes")
    return structs.replace(
        base, nocopy=bool(options.no_copy), labels=options.labels or {}, subpath=options.subpath or ""
    )


def _tmpfs(target: str, options: str) -> Mount:
    if not target.startswith("/"):
        raise BadRequest(f"invalid mount path: '{target}' mount path must be absolute")
    return Mount(type="tmpfs", target=target, options=tuple(word for word in options.split(",") if word))
