"""Translate a specification and an image to bundle.json, which contains every low-level detail for the keeper.

namespaces       kind → "new" | "host" | path of a namespace file
user             the maps of a user namespace that is not the host's; see engine.keeper.child.namespaces
rootfs           layers_folder, layers (below it, lowest first), upper, work, root, features, read_only, propagation
mounts           in order; see engine.keeper.child.mounts.place
devices, masked_paths, read_only_paths, sysctls, cgroup_procs, oom_files, privileged, dns
process          args, env, cwd, user, groups, tty, stdin, stdin_once, rlimits, capabilities, no_new_privs, apparmor, seccomp,
                 oom_score_adj
log              format (json, local, "" for none), folder, max_size, max_files, compress, attrs, ship
run_folder, exit_file, hostname, domainname
"""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.cgroup import settings
from engine.container import apparmor, capabilities, log_driver, mounts, userns
from engine.errors import InvalidSpec, Unsupported
from engine.image.layer import mountpoints, overlay
from engine.kernel import idmap
from engine.net import redirect
from engine.paths import EXIT_FILE
from engine.spec import masked_paths, securityopts
from engine.spec.container import ContainerSpec
from engine.spec.image import ImageRecord
from engine.spec.logtag import Info
from engine.vocabulary import PROPAGATIONS

if TYPE_CHECKING:
    from engine.keeper.bundle import Bundle, Device, Process, RootFs

_NAMESPACED_SYSCTLS = ("net.", "fs.mqueue.", "kernel.shm", "kernel.msg", "kernel.sem", "kernel.domainname")


class Facts(mounts.Sources, kw_only=True):
    """Facts of the session that are not in the specification: paths, and processes to join.

    `names` are the contents of /etc/hosts, hostname and resolv.conf by their names; `joined` has the pid for each
    `container:…` mode's name; `apparmor` the default profile, "" for none; `linked` the variables that its links give it.
    """

    group: str
    run_folder: str
    names: Mapping[str, str]
    layers_folder: str
    hostname: str
    joined: Mapping[str, int]
    seccomp: str
    apparmor: str
    devices: list[Device]
    cgroup_procs: list[str]
    cgroup_folders: Mapping[str, str]
    oom_files: list[str]
    unified: bool
    linked: Mapping[str, str] = {}


def make(spec: ContainerSpec, image: ImageRecord, facts: Facts) -> Bundle:
    """The bundle. Raises InvalidSpec and Unsupported for settings that cannot be implemented."""
    modes = _namespaces(spec, facts.joined, unified=facts.unified)
    spaces = {"user": userns.namespace(spec, facts.joined), **modes}
    _without_nul(spec, image)
    return {
        "namespaces": spaces,
        "user": userns.maps(facts.group) if spaces["user"] != "host" else None,
        "rootfs": {
            **rootfs(image, facts.folder, facts.layers_folder),
            "read_only": spec.read_only,
        },
        "mounts": mounts.entries(spec, facts, spaces),
        "devices": facts.devices,
        "privileged": spec.privileged,
        "masked_paths": list(masked_paths.masked(spec)),
        "read_only_paths": list(masked_paths.read_only(spec)),
        "sysctls": _sysctls(spec, spaces),
        "cgroup_procs": facts.cgroup_procs,
        "oom_files": facts.oom_files,
        "dns": _dns_port(spec, image) if spec.networks and spaces["net"] == "new" else None,
        "hostname": facts.hostname,
        "domainname": spec.domainname,
        "process": _process(spec, image, facts),
        "log": log_driver.settings(spec.logging, _about(spec, image, facts), facts.folder),
        "run_folder": facts.run_folder,
        "exit_file": f"{facts.folder}/{EXIT_FILE}",
    }


def _process(spec: ContainerSpec, image: ImageRecord, facts: Facts) -> Process:
    """The program, its environment, rights and limits."""
    bits = capabilities.effective(spec.cap_add, spec.cap_drop, privileged=spec.privileged)
    security = securityopts.read(spec.security_opt)[0]
    return {
        "args": args(spec, image),
        "env": {**facts.linked, **environment(spec, image)},
        "cwd": spec.working_dir or image.config.working_dir or "/",
        "user": spec.user or image.config.user,
        "groups": list(spec.group_add),
        "tty": spec.tty,
        "console_size": spec.console_size,
        "stdin": spec.stdin_open,
        "stdin_once": spec.stdin_once,
        "rlimits": _rlimits(spec),
        "capabilities": {"bounding": bits, "effective": bits},
        "no_new_privs": security.no_new_privileges,
        "apparmor": apparmor.profile(spec, facts.apparmor),
        "seccomp": facts.seccomp,
        "own_filter": security.seccomp not in ("", "builtin", "unconfined"),
        "oom_score_adj": spec.oom_score_adj,
        "init": bool(spec.init),
    }


def rootfs(image: ImageRecord, folder: str, layers_folder: str) -> RootFs:
    """The overlay of a container whose files are in `folder`."""
    return {
        "layers_folder": layers_folder,
        "layers": [mountpoints.ensure(layers_folder), *(f"{layer}/diff" for layer in image.layers)],
        "upper": f"{folder}/upper",
        "work": f"{folder}/work",
        "root": f"{folder}/upper",  # covers it for processes inside, without a further directory
        "features": overlay.features(),
    }


_DEVICE_RULE = r"[acb] (\d+|\*):(\d+|\*) [rwm]{1,3}"


def _dns_port(spec: ContainerSpec, image: ImageRecord) -> int:
    """The port of our DNS sockets; any port in a container that serves DNS itself."""
    return 0 if redirect.wanted(spec.ports, (*spec.expose, *image.config.exposed_ports)) else 53


def _about(spec: ContainerSpec, image: ImageRecord, facts: Facts) -> Info:
    """The container's attributes for log drivers."""
    labels = {**image.config.labels, **spec.labels}
    command, variables = tuple(args(spec, image)), environment(spec, image)
    return Info(
        os.path.basename(facts.folder), spec.name, image.id, spec.image_ref or image.id, command, variables, labels
    )


def check(spec: ContainerSpec) -> None:
    """Check at creation everything that would otherwise fail at start. Raises InvalidSpec and Unsupported."""
    capabilities.effective(spec.cap_add, spec.cap_drop)
    _rlimits(spec)
    log_driver.check(spec.logging)
    for _, problem in securityopts.read(spec.security_opt)[1]:
        raise InvalidSpec(f"security_opt {problem}")
    if (chosen := apparmor.chosen_profile(spec)) not in ("", "unconfined") and not apparmor.enabled():
        raise Unsupported(f"security_opt: this host has no AppArmor to apply {chosen}", hint="Use apparmor=unconfined.")
    if spec.storage_opt:
        raise Unsupported("storage_opt is not supported: the overlay file system here has no project quotas")
    settings.check(spec.resources)
    for path in (*(spec.masked_paths or ()), *(spec.read_only_paths or ())):
        if not path.startswith("/"):
            raise InvalidSpec(f"masked or read-only path {path!r} is not absolute")
    _check_mounts(spec)
    _check_network(spec)
    joined = {mode.removeprefix("container:"): 0 for mode in joins(spec)}
    _sysctls(spec, {"user": "host", **_namespaces(spec, joined, unified=False)})
    for rule in spec.device_cgroup_rules:
        if not re.fullmatch(_DEVICE_RULE, rule):
            raise InvalidSpec(f"device_cgroup_rules: {rule!r} is not of the form 'c 1:3 rwm'")


def joins(spec: ContainerSpec) -> list[str]:
    """The modes that join another container's namespace."""
    modes = (spec.network_mode, spec.pid_mode, spec.ipc_mode, spec.uts_mode, spec.cgroup_mode)
    return [mode for mode in modes if mode.startswith("container:")]


def _check_mounts(spec: ContainerSpec) -> None:
    seen: set[str] = set()
    for mount in spec.mounts:
        if not mount.target.startswith("/"):
            raise InvalidSpec(f"mount target {mount.target!r} is not an absolute path")
        target = checked_target(mount.target)
        if target in seen:
            raise InvalidSpec(f"two mounts have the target {target}")
        seen.add(target)
        if mount.type not in ("bind", "volume", "tmpfs", "image", "file"):
            raise Unsupported(f"mounts of type {mount.type!r} are not supported")
        if mount.propagation not in ("", *PROPAGATIONS):
            raise InvalidSpec(
                f"mount at {target}: {mount.propagation!r} is not a valid propagation", hint="One of rprivate …"
            )
        if mount.type == "tmpfs":
            mounts.tmpfs(mount)


def checked_target(path: str) -> str:
    """A mount target as a normalised absolute path. Raises InvalidSpec for targets that every container already has."""
    target = os.path.normpath(f"/{path.lstrip('/')}")
    if target == "/":
        raise InvalidSpec("cannot mount over /, the container's root")
    if target == "/proc":
        raise InvalidSpec("cannot mount over /proc, the container's own procfs")
    return target


def _check_network(spec: ContainerSpec) -> None:
    """Settings of a network namespace are allowed only on the container that creates it. Docker Engine ignores
    dns_search and dns_opt elsewhere."""
    if spec.network_mode.startswith("container:"):
        for key in ("hostname", "ports", "extra_hosts", "dns"):
            if getattr(spec, key):
                raise InvalidSpec(
                    f"{key} cannot be set with network_mode {spec.network_mode}",
                    hint="Set it on the container whose network is shared.",
                )


def args(spec: ContainerSpec, image: ImageRecord) -> list[str]:
    """The command line. As in Docker, a new entrypoint discards the image's command, an empty one does not."""
    entrypoint = image.config.entrypoint if spec.entrypoint is None else spec.entrypoint
    if spec.command is not None:
        command = spec.command
    else:
        command = () if spec.entrypoint else image.config.command
    found = [*entrypoint, *command]
    if not found:
        raise InvalidSpec(
            f"container {spec.name}: no command specified", hint="Give the service a command or entrypoint."
        )
    if not found[0]:
        raise InvalidSpec('exec: "": executable file not found in $PATH')
    return found


def _without_nul(spec: ContainerSpec, image: ImageRecord) -> None:
    """The kernel's strings end at a NUL. Raises InvalidSpec."""
    variables = [text for pair in environment(spec, image).items() for text in pair]
    folder = spec.working_dir or image.config.working_dir
    for name, texts in {"command": args(spec, image), "environment": variables, "working directory": [folder]}.items():
        if any("\0" in text for text in texts):
            raise InvalidSpec(f"the {name} contains a NUL character")


def environment(spec: ContainerSpec, image: ImageRecord) -> dict[str, str]:
    """The variables of the image and of the specification, which wins; None removes a variable."""
    merged: dict[str, str | None] = dict(entry.partition("=")[::2] for entry in image.config.environment)
    merged.update(spec.environment)
    # An image may have an entry without a name, which execve(2) does not accept.
    return {key: value for key, value in merged.items() if key and value is not None}


def _namespaces(spec: ContainerSpec, joined: Mapping[str, int], *, unified: bool) -> dict[str, str]:
    modes = {
        "net": spec.network_mode,
        "pid": spec.pid_mode,
        "ipc": spec.ipc_mode,
        "uts": spec.uts_mode,
        "cgroup": spec.cgroup_mode,
    }
    spaces = {"mount": "new"}
    for kind, mode in modes.items():
        if mode.startswith("container:"):
            spaces[kind] = f"/proc/{joined[mode.removeprefix('container:')]}/ns/{kind}"
        elif mode == "host":
            spaces[kind] = "host"
        elif mode in ("", "private", "shareable", "none", "bridge", "default"):
            spaces[kind] = "new"
        else:
            raise InvalidSpec(f"unknown {kind} mode {mode!r}")
    if spaces["net"] == "host" and not spec.uts_mode and not spec.hostname:
        spaces["uts"] = "host"
    if spec.privileged and not spec.cgroup_mode and not unified:
        spaces["cgroup"] = "host"
    return spaces


def _sysctls(spec: ContainerSpec, spaces: Mapping[str, str]) -> dict[str, str]:
    """Docker's two defaults for a private network namespace, and the specification's, which must be namespaced."""
    found = {}
    if spaces["net"] == "new":
        last = userns.SIZE - 1 if spaces["user"] != "host" else idmap.last_gid()
        found = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": f"0 {last}"}
    for key, value in spec.sysctls.items():
        if not key.startswith(_NAMESPACED_SYSCTLS):
            raise InvalidSpec(f"sysctl {key!r} belongs to the whole host and cannot be set in a container")
        kind = "net" if key.startswith("net.") else "uts" if key == "kernel.domainname" else "ipc"
        if spaces[kind] == "host":
            raise InvalidSpec(f"sysctl {key!r} cannot be set with the host's {kind} namespace")
        found[key] = value
    return found


def _rlimits(spec: ContainerSpec) -> list[tuple[int, int, int]]:
    found = []
    for limit in spec.ulimits:
        kind = getattr(resource, f"RLIMIT_{limit.name.upper()}", None)
        if kind is None:
            raise InvalidSpec(f"unknown ulimit {limit.name!r}")
        if 0 <= limit.hard < limit.soft:
            raise InvalidSpec(f"ulimit {limit.name}: the soft limit {limit.soft} is above the hard limit {limit.hard}")
        found.append((kind, limit.soft, limit.hard))
    return found
