"""What a RUN step's container is: its specification, and its bundle with the layers of the build."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from engine.build.execute import RunRequest
from engine.cgroup.manager import Handle
from engine.container import bundle, capabilities, devices, etc
from engine.container.seccomp import compile as seccomp
from engine.paths import Roots
from engine.spec.container import ContainerSpec, Logging
from engine.spec.image import ImageRecord
from engine.vocabulary import WITHOUT_NETWORKS

if TYPE_CHECKING:
    from engine.keeper.bundle import Bundle

HOSTNAME = "buildkitsandbox"
_HOSTS = f"127.0.0.1\tlocalhost {HOSTNAME}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
_NAMES = ("/etc/hosts", "/etc/resolv.conf")
"""Read-only for steps: what is written there would not be part of the image."""
_RESOLVED = "/run/systemd/resolve/resolv.conf"


def specification(request: RunRequest, container_id: str) -> ContainerSpec:
    return ContainerSpec(
        name=container_id[:12],
        image="",
        entrypoint=request.args,
        environment=dict(entry.partition("=")[::2] for entry in request.environment),
        working_dir=request.working_dir,
        user=request.user,
        network_mode=request.network_mode if request.network_mode in WITHOUT_NETWORKS else "",
        extra_hosts=request.extra_hosts,
        mounts=request.mounts,
        shm_size=request.shm_size,
        ulimits=request.ulimits,
        resources=request.resources,
        privileged=request.privileged,
        logging=Logging(driver="none"),
    )


def make(
    spec: ContainerSpec,
    request: RunRequest,
    folder: str,
    handle: Handle,
    *,
    group: str,
    roots: Roots,
    apparmor: str,
    unified: bool,
) -> Bundle:
    """The bundle of a step in the directory `folder`. `apparmor`: the name of the default profile; `unified`: whether the host
    has cgroup v2. Raises as engine.container.bundle.make."""
    bits = capabilities.effective((), (), privileged=spec.privileged)
    names = {
        # Not hostname: what a step writes there is part of the image.
        "hosts": etc.hosts(spec, HOSTNAME, (), host=_HOSTS),
        "resolv.conf": etc.resolv_conf(spec, _host_resolvers(spec), embedded=False),
    }
    facts = bundle.Facts(
        group=group,
        folder=folder,
        run_folder=folder,
        names=names,
        layers_folder=roots.layers,
        hostname=HOSTNAME,
        volumes={},
        images={name: [_layer(one, roots.layers) for one in tree.layers] for name, tree in request.trees.items()},
        joined={},
        seccomp=seccomp.program(roots, (), bits, privileged=spec.privileged),
        apparmor=apparmor,
        devices=devices.nodes(spec),
        cgroup_procs=handle.procs,
        cgroup_folders=handle.folders,
        oom_files=handle.oom_files,
        unified=unified,
    )
    made = bundle.make(spec, ImageRecord(id=""), facts)
    _adapt(made, request, roots.layers)
    return made


def _host_resolvers(spec: ContainerSpec) -> str:
    """The content of the host's resolv.conf; "" if it cannot be read."""
    try:
        with open("/etc/resolv.conf", encoding="utf-8") as file:
            host = file.read()
        if "nameserver 127.0.0.53" in host and spec.network_mode != "host" and os.path.exists(_RESOLVED):
            # The stub resolver listens on the host's loopback interface only; these are the servers behind it.
            with open(_RESOLVED, encoding="utf-8") as file:
                host = file.read()
    except OSError:
        return ""
    return host


def _adapt(made: Bundle, request: RunRequest, layers_folder: str) -> None:
    """Give the container of a step the layers, the upper folder and the trees of its request."""
    made["rootfs"]["layers"] = [os.path.relpath(layer, layers_folder) for layer in request.lower]
    made["rootfs"]["upper"], made["rootfs"]["work"] = request.upper, request.work
    made["process"]["hostname_variable"] = False  # a step's output must not depend on it
    for entry in made["mounts"]:
        if entry["type"] == "file" and entry["target"] in _NAMES:
            entry["read_only"] = True
        if entry["type"] != "image":
            continue
        entry["within"] = layers_folder
        if scratch := request.trees[entry["image"]].scratch:
            entry["upper"], entry["work"] = f"{scratch}/upper", f"{scratch}/work"


def _layer(path: str, layers: str) -> str:
    """The layer as the keeper names it: relative to the folder of all layers, or another folder's absolute path, with
    what means something in mount options escaped."""
    if path.startswith(f"{layers}/"):
        return os.path.relpath(path, layers)
    return re.sub(r"([\\\\:,])", r"\\\1", path)
