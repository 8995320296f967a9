"""What Docker refuses or warns about when a container is created, with its messages (Docker Engine API 1.55,
HostConfig).

The engine also checks specifications. This file has the checks whose messages clients may parse, and those of fields
that a specification lacks."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from typing import TYPE_CHECKING

from msgspec import structs

from composer.serve.docker import body
from composer.serve.http.errors import BadRequest
from composer.view import lookup
from composer.view.errors import Refusal
from composer.view.images import need as need_image
from engine.spec.logoptions import OPTIONS

if TYPE_CHECKING:
    from composer.run.port import Engine
    from engine.spec.container import ContainerSpec

NAMESPACES = {
    "IPC mode": ("ipc_mode", "(none|private|shareable|host|container:.+)?"),
    "PID mode": ("pid_mode", "(host|container:.+)?"),
    "UTS mode": ("uts_mode", "(host)?"),
    "user namespace mode": ("userns_mode", "(host|private|keep-id.*|auto.*)?"),
    "cgroup namespace mode": ("cgroupns_mode", "(private|host)?"),
}
"""Name of the mode in messages → its field, and a pattern of its valid values."""

_NUMBER = re.compile("[0-9]{1,9}")
_REAL_TIME = re.compile(r"RTM(IN|AX)([+-][0-9]{1,2})?")
JOINED = {"network_mode": "NetworkMode", "pid_mode": "PidMode", "ipc_mode": "IpcMode"}
"""Field → HostConfig's name of the modes that can join another container."""


def check(payload: body.Create, host: body.HostConfig) -> None:
    """Raises BadRequest for the first invalid setting."""
    _check_namespaces(host)
    _check_network(payload, host)
    _check_platform(host)
    if (folder := payload.working_dir) and not folder.startswith("/"):
        raise BadRequest(f"the working directory '{folder}' is invalid, it needs to be an absolute path")
    if payload.stop_signal:
        check_signal(payload.stop_signal)
    if (host.shm_size or 0) < 0:
        raise BadRequest("SHM size can not be less than 0")
    if not -1000 <= (host.oom_score_adj or 0) <= 1000:
        raise BadRequest(f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]")


def check_signal(text: str) -> None:
    """Check a signal by name or number, as in kill(1). Raises BadRequest."""
    name = text.upper().removeprefix("SIG")
    number = int(text) if _NUMBER.fullmatch(text) else signal.Signals.__members__.get(f"SIG{name}", 0)
    if not number and _REAL_TIME.fullmatch(name):
        return
    if not 0 < int(number) < signal.NSIG:
        raise BadRequest(f"invalid signal: {text}")


def check_named(engine: Engine, spec: ContainerSpec, host: body.HostConfig) -> None:
    """Check that the containers and images that the new container uses exist. Raises BadRequest, for an image HTTPError
    404."""
    containers = {
        key for group in engine.groups() for one in engine.containers(group) for key in (one.id, one.spec.name)
    }

    def absent(name: str) -> bool:
        plain = name.removeprefix("/")
        return plain not in containers and sum(key.startswith(plain) for key in containers) != 1

    joined = [mode.partition(":")[2] for mode in (spec.pid_mode, spec.ipc_mode) if mode.startswith("container:")]
    for name in (*joined, *(text.partition(":")[0] for text in spec.volumes_from)):
        if absent(name):
            raise BadRequest(f"No such container: {name}")
    if host.network_mode in (None, "", "default", "bridge"):
        for name, _ in spec.links:
            if absent(name):
                raise BadRequest(f"could not get container for {name}: No such container: {name}")
    for text in spec.volumes_from:
        if (mode := text.partition(":")[2]) and set(mode.split(",")) - {"ro", "rw", "z", "Z", "nocopy"}:
            raise BadRequest(f"invalid mode: {mode}")
    for mount in spec.mounts:
        if mount.type == "image":
            need_image(engine, mount.source)


def with_ids(engine: Engine, spec: ContainerSpec) -> ContainerSpec:
    """The specification with the ids of the containers whose namespaces it joins, as Docker keeps them: a container can
    be renamed."""
    fields: dict[str, str] = {}
    for field in JOINED:
        kind, _, name = getattr(spec, field).partition(":")
        if kind == "container":
            with contextlib.suppress(Refusal):
                fields[field] = f"container:{lookup.container(engine, name).id}"
    shown = {JOINED[field]: mode for field, mode in fields.items()}
    return structs.replace(spec, **fields, host_config={**spec.host_config, **shown}) if fields else spec


def warnings(host: body.HostConfig) -> list[str]:
    """Warnings about settings that are accepted but have less effect than their names suggest."""
    found = []
    if host.network_mode == "host" and any((host.port_bindings or {}).values()):
        found.append("Published ports are discarded when using host network mode")
    if any(mount.type == "image" for mount in host.mounts or ()):
        found.append("Image mount is an experimental feature")
    if host.oom_kill_disable and not host.memory:
        found.append(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running "
            "out of resources."
        )
    return found


def _check_namespaces(host: body.HostConfig) -> None:
    for name, (field, allowed) in NAMESPACES.items():
        value = getattr(host, field) or ""
        if not re.fullmatch(allowed, value):
            raise BadRequest(f"invalid {name}: {value}")


def _check_network(payload: body.Create, host: body.HostConfig) -> None:
    mode = host.network_mode or ""
    if mode == "container:":
        raise BadRequest("invalid network mode: invalid container format container:<name|id>")
    if host.uts_mode == "host" and payload.hostname:
        raise BadRequest("conflicting options: hostname and the UTS mode")
    if mode == "host" and host.links:
        raise BadRequest(
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior"
        )
    if not mode.startswith("container:"):
        return
    for conflict, there in (
        ("hostname and the network mode", payload.hostname),
        (
            "container type network can't be used with links. This would result in undefined behavior",
            host.links,
        ),
        ("dns and the network mode", host.dns),
        ("custom host-to-IP mapping and the network mode", host.extra_hosts),
        ("mac-address and the network mode", payload.mac_address),
        ("port publishing and the container type network mode", host.port_bindings or host.publish_all_ports),
        ("port exposing and the container type network mode", payload.exposed_ports),
    ):
        if there:
            raise BadRequest(f"conflicting options: {conflict}")


def _check_platform(host: body.HostConfig) -> None:
    """Check fields of other operating systems, and fields whose drivers are missing."""
    if host.runtime not in (None, "", "composer", "runc", "io.containerd.runc.v2"):
        raise BadRequest(f"unknown or invalid runtime name: {host.runtime}")
    if host.isolation not in (None, "", "default"):
        raise BadRequest(f"invalid isolation ({host.isolation}): linux only supports 'default'")
    # The driver matters only for a volume that this request creates.
    if host.volume_driver not in (None, "", "local") and any(not text.startswith("/") for text in host.binds or ()):
        raise BadRequest(
            f'error looking up volume plugin {host.volume_driver}: plugin "{host.volume_driver}" not found'
        )
    for name, value in (("bandwidth", host.io_maximum_bandwidth), ("IOPs", host.io_maximum_iops)):
        if value:
            raise BadRequest(f"invalid option: QoS maximum {name} configuration is not supported on linux")
    for field, there in (
        ("CpuCount", bool(host.cpu_count)),
        ("CpuPercent", bool(host.cpu_percent)),
        ("Cgroup", bool(host.cgroup)),
    ):
        if there:
            raise BadRequest(f"HostConfig.{field} is not supported on this platform")
    driver = (host.log_config and host.log_config.type) or ""
    if driver and driver not in OPTIONS:
        raise BadRequest(f'error looking up logging plugin {driver}: plugin "{driver}" not found')


def check_nodes(text: str) -> None:
    """A list of memory nodes (cpuset(7)), all of them online. BadRequest."""
    wanted = _listed(text, "mems")
    try:
        with open("/sys/devices/system/node/online", encoding="ascii") as file:
            online = file.read().strip()
    except OSError:
        online = "0"
    if not wanted <= _listed(online, "mems"):
        raise BadRequest(f"Requested memory nodes are not available - requested {text}, available: {online}")


def check_processors(text: str) -> None:
    """A list of processors (cpuset(7)), all of them present. BadRequest."""
    last = (os.cpu_count() or 1) - 1
    if any(number > last for number in _listed(text, "cpus")):
        raise BadRequest(f"Requested CPUs are not available - requested {text}, available: 0-{last}")


def _listed(text: str, kind: str) -> set[int]:
    """The numbers of a list such as `0-2,4`. BadRequest."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        bounds = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part)
        if bounds is None:
            raise BadRequest(f"Invalid value {text} for cpuset {kind}: invalid format: {part}")
        first = int(bounds[1])
        found.update(range(first, int(bounds[2] or first) + 1))
    return found
