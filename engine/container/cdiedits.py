"""Apply a CDI specification's `containerEdits` to a container (Container Device Interface, SPEC.md). Unsupported edits
are refused by name, including hooks, programs that a runtime would run during creation.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from engine.container.mounts import BIND_OPTIONS
from engine.errors import InvalidSpec, Unsupported
from engine.kernel import idmap
from engine.spec.container import ContainerSpec, Device, Mount
from engine.vocabulary import PROPAGATIONS

Edits = dict[str, Any]

_DONE = ("env", "deviceNodes", "mounts", "additionalGids")
_EVERYTHING_BELOW = tuple(f"r{option}" for option in sorted(BIND_OPTIONS))
"""For one mount `ro`, for all that is mounted below it, too, `rro` (OCI runtime specification, config.md)."""
_NOTHING_TO_DO = ("defaults", "async", "loud", "bind", "rbind")

_Number = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
_Path = Annotated[str, Meta(pattern="^/")]


class _Node(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """An entry of deviceNodes. `type` u is a synonym of c; permissions "none" forbid opening the file."""

    path: _Path
    host_path: str = ""
    type: Literal["", "b", "c", "u", "p"] = ""
    major: _Number = 0
    minor: _Number = 0
    file_mode: _Number | None = None
    permissions: Annotated[str, Meta(pattern="^([rwm]*|none)$")] = ""
    uid: _Number | None = None
    gid: _Number | None = None


class _Mount(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    host_path: str
    container_path: _Path
    type: str = ""
    options: tuple[str, ...] = ()


class _Known(Struct, frozen=True, rename="camel"):
    env: tuple[Annotated[str, Meta(pattern="^[^=]+=")], ...] = ()
    device_nodes: tuple[_Node, ...] = ()
    mounts: tuple[_Mount, ...] = ()
    additional_gids: tuple[_Number, ...] = ()


def edited(spec: ContainerSpec, path: str, edits: Edits) -> ContainerSpec:
    """The specification with the edits from the file `path`. Later edits replace earlier ones at the same path. Raises
    InvalidSpec and Unsupported."""
    where = f"CDI specification {path}"
    if hooks := edits.get("hooks"):
        raise Unsupported(
            f"{where}: a device of {spec.name} needs the hook {hooks[0].get('path')}, and hooks are not run",
            hint="Remove the device, or describe it without hooks.",
        )
    if unknown := [key for key, value in edits.items() if value and key not in _DONE]:
        raise Unsupported(f"{where}: a device of {spec.name} needs {unknown[0]}, which is not supported")
    try:
        known = msgspec.convert(edits, _Known)
    except msgspec.ValidationError as error:
        raise InvalidSpec(f"{where}: containerEdits: {error}") from error
    nodes = [_device(node) for node in known.device_nodes]
    mounts = [_mount(mount, where) for mount in known.mounts]
    variables = dict(pair.partition("=")[::2] for pair in known.env)
    return msgspec.structs.replace(
        spec,
        devices=_instead(spec.devices, nodes, lambda device: device.path_in_container),
        mounts=_instead(spec.mounts, mounts, lambda mount: mount.target),
        environment={**spec.environment, **variables},
        group_add=(*spec.group_add, *(str(gid) for gid in known.additional_gids if gid)),
    )


def _instead(before: Sequence[Any], added: Sequence[Any], place: Any) -> tuple[Any, ...]:
    """Both lists, without entries of the first whose path occurs in the second."""
    found = {os.path.normpath(place(one)): one for one in before}
    for one in added:
        found.pop(os.path.normpath(place(one)), None)
        found[os.path.normpath(place(one))] = one
    return tuple(found.values())


def _device(node: _Node) -> Device:
    ours = idmap.initial()  # otherwise the host's own node is bound, with its mode and owner
    owner = 0 if ours else None
    return Device(
        path_on_host=node.host_path or node.path,
        path_in_container=node.path,
        permissions="" if node.permissions == "none" else node.permissions or "rwm",
        kind="c" if node.type == "u" else node.type,
        major=node.major,
        minor=node.minor,
        mode=(0o666 if ours else None) if node.file_mode is None else node.file_mode & 0o7777,
        uid=owner if node.uid is None else node.uid,
        gid=owner if node.gid is None else node.gid,
    )


def _mount(mount: _Mount, where: str) -> Mount:
    subject = f"{where}: the mount at {mount.container_path}"
    if mount.type in ("", "bind") or {"bind", "rbind"} & {*mount.options}:
        return _bind(mount, subject)
    if mount.type == "tmpfs":
        # unlike a service's tmpfs, it has no default restrictions
        return Mount(type="tmpfs", target=mount.container_path, options=("suid", "dev", "exec", *mount.options))
    raise Unsupported(f"{subject} has the type {mount.type!r}", hint="Supported: bind and tmpfs.")


def _bind(mount: _Mount, subject: str) -> Mount:
    own, below, propagation = [], [], ""
    for option in mount.options:
        if option in PROPAGATIONS:
            propagation = option
        elif option in BIND_OPTIONS:
            own.append(option)
        elif option in _EVERYTHING_BELOW:
            below.append(option.removeprefix("r"))
        elif option not in _NOTHING_TO_DO:
            raise Unsupported(f"{subject} has the option {option!r}, which is not supported")
    if own and below:
        raise Unsupported(
            f"{subject} has {own[0]!r} for the mount itself and {'r' + below[0]!r} for its submounts; use one of them"
        )
    alone = "bind" in mount.options and "rbind" not in mount.options
    return Mount(
        type="bind",
        source=mount.host_path,
        target=mount.container_path,
        propagation=propagation,
        recursive="disabled" if alone else "" if below else "writable",
        create_host_path=False,
        options=(*own, *below),
    )
