"""What the clients of a server may do: everything, read only, or work within one project.

Both restrictions are allow lists. Any other operation, or part of a container's specification, is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from composer.plan.labels import PROJECT
from composer.serve.http.errors import HTTPError
from engine.spec.container import ContainerSpec

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from composer.run.port import Engine
    from composer.serve.http.request import Request
    from engine.spec.container import Attachment, Mount, Resources
    from engine.spec.network import NetworkSpec, VolumeSpec

READS = frozenset({
    "archive.changes", "containers.inspect", "containers.listing", "containers.top", "events.events", "exec.inspect",
    "images.history", "images.inspect", "images.listing", "logs.logs", "networks.inspect", "networks.listing",
    "stats.stats", "swarm.absent", "swarm.plugin", "swarm.plugins", "system.disk_usage", "system.info", "system.ping",
    "system.version", "volumes.inspect", "volumes.listing",
})  # fmt: skip
"""Operations (targets of ROUTES) that change nothing and read no files. With --read-only, GET and HEAD on these are
allowed."""

OWN = READS | {
    "archive.export", "archive.get", "archive.put", "archive.status", "attach.attach", "attach.resize", "attach.websocket",
    "exec.create", "exec.resize", "exec.start", "lifecycle.create", "lifecycle.kill", "lifecycle.pause",
    "lifecycle.prune", "lifecycle.remove", "lifecycle.rename", "lifecycle.restart", "lifecycle.start", "lifecycle.stop",
    "lifecycle.unpause", "lifecycle.wait", "network_changes.create", "network_changes.prune", "network_changes.remove",
    "network_members.connect", "network_members.disconnect", "update.update", "volumes.create", "volumes.prune",
    "volumes.remove",
}  # fmt: skip
"""Operations on containers, networks and volumes, which --project allows. Images and builds do not belong to a
project."""

HARMLESS = frozenset({
    "annotations", "cap_drop", "command", "console_size", "dns", "dns_opt", "dns_search", "domainname", "entrypoint",
    "environment", "expose", "extra_hosts", "group_add", "healthcheck", "host_config", "hostname", "image", "image_ref",
    "init", "labels", "links", "logging", "mounts", "name", "network_mode", "networks", "ports", "read_only", "resources",
    "restart", "shm_size", "stdin_open", "stdin_once", "stop_signal", "stop_timeout", "tty", "ulimits", "user",
    "volumes_from", "working_dir", "security_opt", "cgroup_mode", "ipc_mode", "pid_mode", "userns_mode",
})  # fmt: skip
"""Fields of a specification that may be set with --project; `check_container` restricts the values of some."""

CONFINING = frozenset({"no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"})
PLAIN_PS = re.compile(r"-?[aefjluwx]*")
"""Options of ps(1) whose columns are fixed and have no spaces before PID."""
LOCAL_LOGS = ("", "json-file", "local", "none")
OWN_MODES = {
    "ipc_mode": ("", "private", "shareable", "none"),
    "pid_mode": ("",),
    "cgroup_mode": ("", "private"),
    "userns_mode": ("", "private"),
    "network_mode": ("", "none"),
}
"""Namespace modes that mean a namespace of the container's own."""


class Access:
    """`project` is "" for all."""

    def __init__(self, *, read_only: bool = False, project: str = "") -> None:
        self.read_only, self.project = read_only, project

    def check(self, request: Request, target: str) -> None:
        """Raise HTTPError 403 unless the operation is allowed."""
        if self.read_only and (request.method not in ("GET", "HEAD") or target not in READS):
            raise HTTPError(403, "this server is read-only (composer serve --read-only)")
        if self.project and target not in OWN:
            raise HTTPError(
                403, f"this server is restricted to project {self.project}: images, builds and logins are not available"
            )

    def labels(self, labels: Mapping[str, str]) -> dict[str, str]:
        """The labels of a new object, which put it into the server's project. Raises HTTPError 403."""
        if not self.project:
            return dict(labels)
        if labels.get(PROJECT, self.project) != self.project:
            raise self._refused(f"the label {PROJECT}={labels[PROJECT]}")
        return {**labels, PROJECT: self.project}

    def check_container(self, spec: ContainerSpec, engine: Engine) -> None:
        """Raise HTTPError 403 if the container could reach anything outside the project.

        `engine` shows the project's objects only."""
        if not self.project:
            return
        plain = ContainerSpec(name=spec.name, image=spec.image)
        for name in spec.__struct_fields__:
            if name not in HARMLESS and getattr(spec, name) != getattr(plain, name):
                raise self._refused(name.replace("_", " "))
        containers = {key for record in engine.containers(self.project) for key in (record.id, record.spec.name)}
        for name, own in OWN_MODES.items():
            mode: str = getattr(spec, name)
            prefix, _, joined = mode.rpartition(":")  # a container of the project may be named `host`
            if mode not in own and not (prefix == "container" and joined in containers):
                raise self._refused(f"{name.replace('_', ' ')} {mode}")
        if spec.logging.driver not in LOCAL_LOGS:
            raise self._refused(f"log driver {spec.logging.driver}")
        if set(spec.security_opt) - CONFINING:
            raise self._refused(f"security option {min(set(spec.security_opt) - CONFINING)}")
        self.check_limits(spec.resources)
        self._check_objects(spec, engine, containers)

    def _check_objects(self, spec: ContainerSpec, engine: Engine, containers: Collection[str]) -> None:
        """Check that all named networks, volumes and containers belong to the project."""
        for attachment in spec.networks:
            self.check_attachment(attachment, engine)
        others = [text.partition(":")[0] for text in spec.volumes_from] + [name for name, _ in spec.links]
        for name in others:
            if name not in containers:
                raise self._refused(f"container {name}")
        volumes = {record.spec.name for record in engine.volumes()}
        for mount in spec.mounts:
            self._check_mount(mount, volumes, engine)

    def _check_mount(self, mount: Mount, volumes: Collection[str], engine: Engine) -> None:
        image = mount.type == "image" and engine.image(mount.source) is not None
        if not (
            image or mount.type == "tmpfs" or (mount.type == "volume" and (not mount.source or mount.source in volumes))
        ):
            raise self._refused(f"{mount.type} mount of {mount.source}")

    def check_attachment(self, attachment: Attachment, engine: Engine) -> None:
        """Raise HTTPError 403 for a network outside the project, links to containers outside it, or driver options,
        which can be sysctls."""
        if not self.project:
            return
        name = attachment.network
        if all(name not in (record.id, record.spec.name) for record in engine.networks()):
            raise self._refused(f"network {name}")
        if attachment.driver_opts:
            raise self._refused(f"network {name} with driver options")
        containers = {key for record in engine.containers(self.project) for key in (record.id, record.spec.name)}
        for linked, _ in attachment.links:
            if linked not in containers:
                raise self._refused(f"container {linked}")

    def check_limits(self, limits: Resources) -> None:
        """Raise HTTPError 403 for limits that let a container take resources from others."""
        if self.project and (limits.oom_kill_disable or limits.cpu_rt_runtime or limits.cpu_rt_period):
            raise self._refused("real-time scheduling or a container exempt from the OOM killer")

    def check_exec(self, *, privileged: bool) -> None:
        """Raise HTTPError 403 for a process with more privileges than its container."""
        if self.project and privileged:
            raise self._refused("a privileged process")

    def check_ps(self, arguments: str) -> None:
        """Raise HTTPError 403 for arguments of ps(1) that choose columns: we identify a container's rows by the column
        PID, and a chosen column, such as `rss=PID`, could make rows of other processes look like them."""
        if (self.read_only or self.project) and not PLAIN_PS.fullmatch(arguments):
            raise HTTPError(
                403, f"ps_args {arguments!r} are not allowed here: use -ef, aux, or other options without -o"
            )

    def check_network(self, spec: NetworkSpec) -> None:
        """With --project, allow only a plain bridge with addresses chosen by the engine. Raises HTTPError 403."""
        if self.project and (spec.driver != "bridge" or spec.driver_opts or spec.pools or spec.ipam_driver):
            raise self._refused("a network with another driver, options or addresses of its own")

    def check_volume(self, spec: VolumeSpec) -> None:
        """Raise HTTPError 403 for a volume that could be a host folder or a network file system."""
        if self.project and spec.driver_opts:
            raise self._refused("a volume with driver options")

    def _refused(self, action: str) -> HTTPError:
        return HTTPError(403, f"{action} is not allowed: this server is restricted to project {self.project}")


def scoped(engine: Engine, project: str) -> Engine:
    """The engine restricted to the project's objects; the unrestricted engine for ""."""
    return _Scoped(engine, project) if project else engine  # type: ignore[return-value]


class _Scoped:
    """An engine with filtered listings. Every lookup by name goes through a listing first."""

    def __init__(self, engine: Engine, project: str) -> None:
        self._engine, self._project = engine, project

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    def groups(self) -> list[str]:
        return [group for group in self._engine.groups() if group == self._project]

    def find_container(self, name: str) -> object | None:
        found = self._engine.find_container(name)
        return found if found is not None and found.group == self._project else None

    def containers(self, group: str) -> list[object]:
        return list(self._engine.containers(group)) if group == self._project else []

    def networks(self) -> list[object]:
        return [record for record in self._engine.networks() if record.spec.labels.get(PROJECT) == self._project]

    def volumes(self) -> list[object]:
        return [record for record in self._engine.volumes() if record.spec.labels.get(PROJECT) == self._project]

    def _used(self) -> set[str]:
        return {record.spec.image for record in self._engine.containers(self._project)}

    def images(self) -> list[object]:
        used = self._used()
        return [record for record in self._engine.images() if record.id in used]

    def image(self, reference: str) -> object | None:
        found = self._engine.image(reference)
        return found if found is not None and found.id in self._used() else None

    def store_usage(self) -> object:
        return msgspec.structs.replace(self._engine.store_usage(), layers=0, images={}, shared={}, cache=())

    def need_default_network(self) -> None:
        """The network `bridge` belongs to no project."""
