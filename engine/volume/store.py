"""Volumes: a row in the database and a directory <state>/volumes/<name>/_data, on which driver options may mount a file
system."""

from __future__ import annotations

import os
import re
import time

import msgspec

from engine.errors import Conflict, InvalidSpec, OperationFailed, Unsupported
from engine.filetree.remove import remove as remove_tree
from engine.kernel import calls
from engine.paths import make_private, make_seen
from engine.spec.container import ContainerSpec
from engine.spec.network import VolumeRecord, VolumeSpec, decode_volume
from engine.store import Store
from engine.volume import options

_NAME = r"[a-zA-Z0-9][a-zA-Z0-9_.-]*"


def get(store: Store, name: str) -> VolumeRecord | None:
    row = store.db.execute("SELECT record FROM volumes WHERE name = ?", (name,)).fetchone()
    return decode_volume(row[0]) if row else None


def every(store: Store) -> list[VolumeRecord]:
    return [decode_volume(row[0]) for row in store.db.execute("SELECT record FROM volumes ORDER BY name")]


def create(store: Store, spec: VolumeSpec) -> VolumeRecord:
    """Create the volume, or return the existing one. Raises InvalidSpec, Unsupported, Conflict (different options)."""
    if not re.fullmatch(_NAME, spec.name):
        raise InvalidSpec(f"volume name {spec.name!r} has characters outside [a-zA-Z0-9][a-zA-Z0-9_.-]")
    if spec.driver not in ("", "local"):
        raise Unsupported(f"volume {spec.name}: driver {spec.driver!r} is not supported", hint="Supported: local.")
    options.check(spec)
    present = get(store, spec.name)
    if present is not None:
        if present.spec.driver_opts != spec.driver_opts:
            raise Conflict(
                f"volume {spec.name} already exists with different driver options",
                hint=f"Remove it first. It was created with {options.shown(present.spec)}.",
            )
        record = present
    else:
        record = VolumeRecord(spec=spec, mountpoint=f"{store.roots.volumes}/{spec.name}/_data", created_at=time.time())
        with store.transaction() as db:
            db.execute("INSERT OR IGNORE INTO volumes VALUES (?, ?)", (spec.name, msgspec.json.encode(record).decode()))
    _make_folder(record)
    return record


def _make_folder(record: VolumeRecord) -> None:
    try:
        # Closed to other users, because a container may create setuid files in its volume (CVE-2021-41091).
        make_private(os.path.dirname(record.mountpoint))
        make_seen(record.mountpoint)
    except OSError as error:
        raise OperationFailed.of("make", record.mountpoint, error) from error


def remove(store: Store, name: str, users: list[str]) -> None:
    """Remove the volume and its content; no error when it does not exist. Raises Conflict if `users` is not empty."""
    record = get(store, name)
    if record is None:
        return
    if users:
        raise Conflict(f"volume {name} is in use by " + ", ".join(user[:12] for user in users))
    unmount(record)
    try:
        remove_tree(os.path.dirname(record.mountpoint))
    except OSError as error:
        raise OperationFailed.of("remove", record.mountpoint, error) from error
    with store.transaction(freeing=True) as db:
        db.execute("DELETE FROM volumes WHERE name = ?", (name,))


def prepare(record: VolumeRecord) -> str:
    """Mount the volume if its driver options require that. Returns its directory. Raises as engine.volume.options does,
    and OperationFailed if the directory cannot be created."""
    _make_folder(record)  # a crash may have happened after the record and before the directory
    if record.spec.driver_opts and not _is_mounted(record):
        options.mount(record.spec, record.mountpoint)
    return record.mountpoint


def unmount(record: VolumeRecord) -> None:
    """Unmount what `prepare` mounted, if it is mounted. Processes that use it keep it."""
    while record.spec.driver_opts and _is_mounted(record):
        calls.umount(record.mountpoint)


def _is_mounted(record: VolumeRecord) -> bool:
    """A bind mount of the same file system has another mount id, but the same device (which os.path.ismount
    compares)."""
    try:
        return calls.mount_id(record.mountpoint) != calls.mount_id(os.path.dirname(record.mountpoint))
    except OSError:
        return False


def users(specs: list[tuple[str, ContainerSpec]], name: str) -> list[str]:
    """Ids among `specs`, (id, specification), of the containers that mount the volume."""
    return [i for i, spec in specs if any(m.type == "volume" and m.source == name for m in spec.mounts)]
