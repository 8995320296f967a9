"""What the engine has and what it takes on the disc (Docker Engine API 1.55, "System")."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Any

from composer.view import found
from composer.view import volumes as volume_words
from composer.view.container_list import listed as listed_container
from composer.view.container_list import tree_size
from composer.view.images import listed as listed_image
from composer.view.images import users
from composer.view.moments import timestamp

if TYPE_CHECKING:
    from composer.run.port import Engine


def facts(engine: Engine, version: str) -> dict[str, Any]:
    """`GET /info`: counts of objects, and the machine. Memory in bytes (sysconf(3))."""
    states = [record.state.status.value for group in engine.groups() for record in engine.containers(group)]
    return {
        "Containers": len(states),
        "ContainersRunning": sum(state in ("running", "restarting") for state in states),
        "ContainersPaused": states.count("paused"),
        "ContainersStopped": sum(state in ("created", "exited", "dead") for state in states),
        "Images": len(engine.images()),
        "Driver": "overlay2",
        "KernelVersion": platform.release(),
        "OSType": "linux",
        "Architecture": platform.machine(),
        "NCPU": os.cpu_count(),
        "MemTotal": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "Name": platform.node(),
        "ServerVersion": version,
    }


def usage(engine: Engine) -> dict[str, Any]:
    """`GET /system/df`: sizes in bytes. LayersSize counts a layer that several images share once."""
    used, holders = users(engine), volume_words.users(engine)
    volumes = [
        {
            **volume_words.shown(one),
            "UsageData": {"Size": tree_size(one.mountpoint), "RefCount": len(holders.get(one.spec.name, ()))},
        }
        for one in engine.volumes()
    ]
    store = engine.store_usage()
    shared = {image.id: image for image in engine.images()}
    images = [
        {**listed_image(image, used[image.id]), "SharedSize": store.shared.get(image.id, 0)}
        for image in shared.values()
    ]
    return {
        "LayersSize": store.layers,
        "Images": images,
        "Containers": [listed_container(engine, record, sizes=True) for record in found.every(engine)],
        "Volumes": volumes,
        "BuildCache": [
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
            for entry in store.cache
        ],
    }
