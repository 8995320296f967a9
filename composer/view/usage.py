"""The engine's objects and their disk usage (Docker Engine API 1.55, "System")."""

from __future__ import annotations

import os
import platform
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from composer.view import volumes as volume_words
from composer.view.api_format import timestamp
from composer.view.container_list import listed as listed_container
from composer.view.images import listed as listed_image
from composer.view.images import users
from composer.view.lookup import every
from engine.filetree.size import tree_size
from engine.vocabulary import DOCKER_HUB, HUB_SERVER

if TYPE_CHECKING:
    from collections.abc import Collection

    from composer.run.port import Engine


def facts(engine: Engine, version: str, *, root: str = "", listeners: int = 0) -> dict[str, Any]:
    """`GET /info`: counts of objects, the machine, and what this engine can do. Memory in bytes (sysconf(3))."""
    states = [record.state.status.value for group in engine.groups() for record in engine.containers(group)]
    return {
        "ID": str(uuid.uuid5(uuid.NAMESPACE_URL, f"composer:{platform.node()}:{root}")),
        "Containers": len(states),
        "ContainersRunning": sum(state in ("running", "restarting") for state in states),
        "ContainersPaused": states.count("paused"),
        "ContainersStopped": sum(state in ("created", "exited", "dead") for state in states),
        "Images": len(engine.images()),
        "Driver": "overlay2",
        "DriverStatus": [["Supports d_type", "true"]],
        "KernelVersion": platform.release(),
        "OperatingSystem": _distribution(),
        "OSType": "linux",
        "OSVersion": "",
        "Architecture": platform.machine(),
        "NCPU": os.cpu_count(),
        "MemTotal": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "Name": platform.node(),
        "ServerVersion": version,
        "DockerRootDir": root,
        "SystemTime": timestamp(time.time()),
        "NFd": len(os.listdir("/proc/self/fd")),
        "NGoroutines": threading.active_count(),
        "NEventsListener": listeners,
        **_abilities(engine),
        **_CONSTANT,
    }


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _abilities(engine: Engine) -> dict[str, Any]:
    """The limits that the host's cgroups support (cgroups(7)), and the security features of all containers."""
    unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    try:
        with open("/sys/fs/cgroup/cgroup.controllers" if unified else "/proc/cgroups", encoding="ascii") as file:
            known = {line.split()[0] for line in file.read().replace(" ", "\n").splitlines() if line.strip()}
    except OSError:
        known = set()
    confined = os.path.exists("/sys/kernel/security/apparmor/profiles")
    return {
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2" if unified else "1",
        "MemoryLimit": "memory" in known,
        "SwapLimit": unified or os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"),
        "KernelMemoryTCP": False,
        "CpuCfsPeriod": "cpu" in known,
        "CpuCfsQuota": "cpu" in known,
        "CPUShares": "cpu" in known,
        "CPUSet": "cpuset" in known,
        "PidsLimit": "pids" in known,
        "OomKillDisable": not unified,
        "IPv4Forwarding": engine.forwarding()[0],
        "SecurityOptions": [
            "name=seccomp,profile=builtin",
            *(["name=apparmor"] if confined else []),
            *(["name=cgroupns"] if unified else []),
            *(["name=rootless"] if os.geteuid() else []),
        ],
    }


_CONSTANT: dict[str, Any] = {
    "Plugins": {
        "Volume": ["local"],
        "Network": ["bridge", "host", "ipvlan", "macvlan", "null", "overlay"],
        "Authorization": None,
        "Log": ["json-file", "local", "none", "syslog", "journald", "fluentd"],
    },
    "Debug": False,
    "ExperimentalBuild": False,
    "LoggingDriver": "json-file",
    "IndexServerAddress": HUB_SERVER,
    "RegistryConfig": {
        "IndexConfigs": {DOCKER_HUB: {"Mirrors": [], "Name": DOCKER_HUB, "Official": True, "Secure": True}},
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
        "Mirrors": [],
    },
    "GenericResources": None,
    "HttpProxy": "",
    "HttpsProxy": "",
    "NoProxy": "",
    "Labels": [],
    "Runtimes": {"composer": {"path": "composer"}, "runc": {"path": "composer"}},
    "DefaultRuntime": "runc",
    "Swarm": {
        "NodeID": "",
        "NodeAddr": "",
        "LocalNodeState": "inactive",
        "ControlAvailable": False,
        "Error": "",
        "RemoteManagers": None,
    },
    "LiveRestoreEnabled": True,
    "Isolation": "",
    "InitBinary": "composer-init",
    "ContainerdCommit": {"ID": ""},
    "RuncCommit": {"ID": ""},
    "InitCommit": {"ID": ""},
    "CDISpecDirs": ["/etc/cdi", "/var/run/cdi"],
    "Warnings": None,
}
"""Fields that are the same on every machine."""

KINDS = ("container", "image", "volume", "build-cache")


def usage(engine: Engine, kinds: Collection[str] = KINDS) -> dict[str, Any]:
    """`GET /system/df`: sizes in bytes, with the compressed blobs of layers. LayersSize counts shared layers once."""
    found: dict[str, Any] = {"LayersSize": 0, **dict.fromkeys(("Images", "Containers", "Volumes", "BuildCache"))}
    if "image" in kinds:
        found |= _images(engine)
    if "container" in kinds:
        found["Containers"] = [listed_container(engine, record, sizes=True) for record in every(engine)]
    if "volume" in kinds:
        found["Volumes"] = _volumes(engine)
    if "build-cache" in kinds:
        found["BuildCache"] = _build_cache(engine)
    return found


def _images(engine: Engine) -> dict[str, Any]:
    store, used = engine.store_usage(), users(engine)
    return {
        "LayersSize": store.layers,
        "Images": [
            {
                **listed_image(image, used[image.id]),
                "Size": store.images.get(image.id, image.size),
                "SharedSize": store.shared.get(image.id, 0),
            }
            for image in {image.id: image for image in engine.images()}.values()
        ],
    }


def _volumes(engine: Engine) -> list[dict[str, Any]]:
    holders = volume_words.users(engine)
    return [
        {
            **volume_words.shown(one),
            "UsageData": {"Size": tree_size(one.mountpoint), "RefCount": len(holders.get(one.spec.name, ()))},
        }
        for one in engine.volumes()
    ]


def _build_cache(engine: Engine) -> list[dict[str, Any]]:
    return [
        {
            "ID": entry.key[:25],
            "Type": "regular",
            "Description": entry.step,
            "InUse": entry.in_use,
            "Shared": entry.shared,
            "Size": entry.size,
            "CreatedAt": timestamp(entry.created_at),
            "LastUsedAt": timestamp(entry.used_at),
            "UsageCount": 1,
        }
        for entry in engine.store_usage().cache
    ]
