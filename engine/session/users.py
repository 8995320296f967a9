"""Which containers use a volume, in all groups."""

from __future__ import annotations

import os

from engine.container import state as files
from engine.paths import Roots
from engine.spec.state import ContainerRecord
from engine.store import Store
from engine.volume.store import get, unmount, users


def volume_users(roots: Roots, name: str) -> list[str]:
    """Ids of the containers, of any group, that mount the volume."""
    return users([(record.id, record.spec) for record in _records(roots)], name)


def unmount_unused(store: Store, record: ContainerRecord) -> None:
    """The container has exited: unmount its volumes that driver options mounted and that no other running container
    uses."""
    for name in {mount.source for mount in record.spec.mounts if mount.type == "volume"}:
        volume = get(store, name)
        if volume is None or not volume.spec.driver_opts:
            continue
        running = [one for one in _records(store.roots) if one.state.status.alive and one.id != record.id]
        if not users([(one.id, one.spec) for one in running], name):
            unmount(volume)


def _records(roots: Roots) -> list[ContainerRecord]:
    try:
        groups = os.listdir(roots.groups)
    except FileNotFoundError:
        return []
    return [record for group in groups for record in files.every(roots, group)]
