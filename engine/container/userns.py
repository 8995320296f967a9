"""User namespaces of containers, and their id ranges on the host.

userns_mode   "" what the setting COMPOSER_USERNS says (host, or private), host: none, private: one of its own

A private namespace maps the ids 0 … 65535 to a range that belongs to the group, so that containers of one project share
users, but not with other projects. Nothing on disk changes: layers, volumes and binds are mounted with mapped ids. The
ranges are those that systemd reserves for containers (systemd.io, "Users, Groups, UIDs and GIDs").
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from engine import digest
from engine.errors import InvalidSpec, Unsupported
from engine.kernel import idmap
from engine.spec.container import ContainerSpec

if TYPE_CHECKING:
    from engine.keeper.bundle import UserMaps

SETTING = "COMPOSER_USERNS"
MODES = ("", "host", "private")
SIZE = 65536
_FIRST, _LAST = 0x00080000, 0x6FFF0000
_HOST = "with a private user namespace"
_HINT = "Set userns_mode: host for this service."


def settle(spec: ContainerSpec, environ: Mapping[str, str]) -> ContainerSpec:
    """The specification with the setting resolved, so that a restart cannot change it. Raises InvalidSpec,
    Unsupported."""
    setting = environ.get(SETTING, "")
    if setting not in MODES:
        raise InvalidSpec(f"the environment variable {SETTING} is {setting!r}", hint="Set it to host or private.")
    if spec.userns_mode not in MODES:
        raise Unsupported(f"userns_mode {spec.userns_mode!r} is not supported", hint="Supported: host and private.")
    if not spec.userns_mode and setting:
        spec = msgspec.structs.replace(spec, userns_mode=setting)
    if is_private(spec):
        _check(spec)
    return spec


def is_private(spec: ContainerSpec) -> bool:
    return spec.userns_mode == "private"


def _check(spec: ContainerSpec) -> None:
    """Refuse what Docker refuses with userns-remap, because a remapped root does not own the host's namespaces."""
    if not idmap.initial():
        raise Unsupported(
            "userns_mode private needs root: an ordinary user's containers are all in the user's own namespace",
            hint=_HINT,
        )
    if spec.privileged:
        raise InvalidSpec(f"container {spec.name} cannot be privileged {_HOST}", hint=_HINT)
    for name, mode in (("network_mode", spec.network_mode), ("pid", spec.pid_mode), ("ipc", spec.ipc_mode)):
        if mode == "host":
            raise InvalidSpec(f"container {spec.name} cannot have {name}: host {_HOST}", hint=_HINT)
    for mount in spec.mounts:
        if mount.propagation in ("shared", "rshared"):
            raise InvalidSpec(
                f"{mount.target} of {spec.name} cannot be mounted {mount.propagation} {_HOST}", hint=_HINT
            )


def maps(group: str) -> UserMaps:
    """The bundle's "user" for a container of the group."""
    places = (_LAST - _FIRST) // SIZE + 1
    number = int(digest.hexadecimal(group.encode())[:8], 16) % places
    ranges = [(0, _FIRST + number * SIZE, SIZE)]
    return {"uids": ranges, "gids": ranges}


def namespace(spec: ContainerSpec, joined: Mapping[str, int]) -> str:
    """host, new, or the file of the namespace that the container shares together with other namespaces."""
    theirs = set()
    for mode in (spec.network_mode, spec.pid_mode, spec.ipc_mode, spec.uts_mode, spec.cgroup_mode):
        if mode.startswith("container:"):
            theirs.add(f"/proc/{joined[mode.removeprefix('container:')]}/ns/user")
    remapped = {path for path in theirs if os.readlink(path) != os.readlink("/proc/self/ns/user")}
    if not is_private(spec):
        if remapped:
            raise InvalidSpec(
                f"container {spec.name} shares a namespace with one in a private user namespace",
                hint="Give both the same userns_mode.",
            )
        return "host"
    if theirs - remapped or len({os.readlink(path) for path in remapped}) > 1:
        raise InvalidSpec(
            f"container {spec.name} shares namespaces of containers that are not in one user namespace",
            hint="Give them the same userns_mode, and share the namespaces of one container only.",
        )
    return min(remapped, default="new")
