"""The devices that a container can access (OCI runtime specification, config-linux.md; Docker's defaults)."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.errors import InvalidSpec, OperationFailed, Unsupported
from engine.kernel import idmap
from engine.spec.container import ContainerSpec, Device

if TYPE_CHECKING:
    from engine.keeper.bundle import Device as Node

DEFAULT_RULES = (
    "c *:* m", "b *:* m",
    "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",
    "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm",
)  # fmt: skip
"""mknod(2) of any device, but opening only null, zero, full, random, urandom, tty, console, ptmx and terminals."""


def rules(spec: ContainerSpec, nodes: Sequence[Node]) -> list[str] | None:
    """The allowed devices, None for all (privileged)."""
    if spec.privileged:
        return None
    own = [
        f"{node['kind']} {node['major']}:{node['minor']} {node['permissions']}"
        for node in nodes
        if node["kind"] != "p" and node["permissions"]
    ]
    return [*DEFAULT_RULES, *own, *spec.device_cgroup_rules]


def nodes(spec: ContainerSpec) -> list[Node]:
    """The device files to create: those of `devices`, and for a privileged container all of the host's /dev."""
    found: list[Node] = []
    for device in spec.devices:
        found += _device(device)
    if spec.privileged:
        taken = {node["path"] for node in found}
        found += [node for path in _walk("/dev") if path not in taken and (node := _node(path, path, "rwm"))]
    return found


def _device(device: Device) -> list[Node]:
    if not set(device.permissions) <= set("rwm"):
        raise InvalidSpec(
            f"device {device.path_on_host}: permissions {device.permissions!r} may only contain r, w and m"
        )
    # Otherwise the host's own node is bound, because only the host's root can create one (mknod(2)).
    ours = idmap.initial()
    if device.kind == "p" or (device.kind and device.major and ours):
        made: Node = {
            "path": device.path_in_container,
            "source": device.path_on_host,
            "kind": device.kind,
            "major": 0,
            "minor": 0,
            "mode": 0o666,
            "uid": 0,
            "gid": 0,
            "permissions": device.permissions,
        }
        return [_owned(made, device)]
    host = os.path.realpath(device.path_on_host)
    if os.path.isdir(host) and not device.kind:
        pairs = [(path, device.path_in_container + path.removeprefix(host)) for path in _walk(host)]
        return [node for path, inside in pairs if (node := _node(path, inside, device.permissions))]
    try:
        node = _node(host, device.path_in_container, device.permissions)
    except OSError as error:
        raise OperationFailed.of("find device", device.path_on_host, error) from error
    if node is None:
        raise InvalidSpec(f"device {device.path_on_host} is not a device file")
    if device.kind not in ("", node["kind"]):
        raise InvalidSpec(f"device {device.path_on_host} is of type {node['kind']}, not {device.kind}")
    changed = _owned(node, device)
    if not ours and changed != node:
        raise Unsupported(
            f"device {device.path_in_container} must have the number, mode and owner of {device.path_on_host} "
            "when the engine does not run as root"
        )
    return [changed]


def _owned(node: Node, device: Device) -> Node:
    """The node with the attributes of the host's device."""
    return {
        **node,
        "kind": device.kind or node["kind"],
        "major": device.major or node["major"],
        "minor": device.minor if device.major else node["minor"],
        "mode": node["mode"] if device.mode is None else device.mode,
        "uid": node["uid"] if device.uid is None else device.uid,
        "gid": node["gid"] if device.gid is None else device.gid,
    }


def _walk(folder: str) -> list[str]:
    found = []
    skipped = {"/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd", "/dev/.lxc", "/dev/console"}
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if f"{place}/{name}" not in skipped]
        found += [f"{place}/{name}" for name in files if f"{place}/{name}" not in skipped]
    return found


def _node(path: str, inside: str, permissions: str) -> Node | None:
    status = os.lstat(path)
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        return None
    return {
        "path": inside,
        "source": path,
        "kind": "b" if stat.S_ISBLK(status.st_mode) else "c",
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "mode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
        "permissions": permissions,
    }
