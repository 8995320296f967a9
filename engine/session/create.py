"""Creating a container: everything is validated here, then recorded. Nothing runs yet."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence

import msgspec
from anyio import to_thread

from engine.container import bundle, cdi, userns
from engine.container import state as files
from engine.errors import InvalidSpec
from engine.filetree.remove import remove as remove_tree
from engine.session import group_store, signals
from engine.session.group import Group
from engine.spec.container import ContainerSpec, Mount
from engine.spec.network import VolumeSpec
from engine.spec.state import ContainerRecord, ContainerState
from engine.volume import store as volumes


async def create(group: Group, spec: ContainerSpec, inherited: Sequence[str] = ()) -> ContainerRecord:
    """See Changes.create. The name is reserved first; after a crash, `adopt` releases it."""
    async with group.creation:
        return await _create(group, spec, inherited)


async def _create(group: Group, spec: ContainerSpec, inherited: Sequence[str]) -> ContainerRecord:
    spec = userns.settle(spec, os.environ)
    bundle.check(cdi.applied(spec))
    image = group.image(spec.image)
    bundle.args(spec, image)
    if spec.stop_signal:
        _check_stop_signal(spec.stop_signal)
    for mode in bundle.joins(spec):
        if mode != spec.network_mode:  # as with a network's name, which another network may have by the start
            group.other(mode.removeprefix("container:"))  # it exists, or NotFound is raised
    container_id = group_store.new_id()
    mounts, anonymous = _mounts(group, spec, image.config.volumes)
    spec = msgspec.structs.replace(spec, mounts=mounts)
    group_store.claim(group.store, container_id, spec.name, group.name, image.id)
    folder = group.folder(container_id)
    group.creating.add(container_id)
    try:
        state = ContainerState(created_at=time.time(), anonymous_volumes=(*inherited, *anonymous))
        # The specifications of several containers are synced concurrently, because the disk can combine the writes.
        await to_thread.run_sync(files.write_new, folder, spec, state)
        # Recorded before they exist, so that no volume is unknown after a crash.
        for name, labels in anonymous.items():
            volumes.create(group.store, VolumeSpec(name=name, labels=labels, anonymous=True))
    except BaseException:
        with contextlib.suppress(OSError):
            remove_tree(folder)
        for name in anonymous:
            volumes.remove(group.store, name, [])
        group_store.release(group.store, container_id)
        raise
    finally:
        group.creating.discard(container_id)
    record = ContainerRecord(id=container_id, group=group.name, spec=spec, state=state)
    group.records[container_id] = record
    return record


def _check_stop_signal(text: str) -> None:
    """An image's is not checked: see stop.py."""
    try:
        signals.number(text)
    except InvalidSpec as error:
        raise InvalidSpec(f"stop_signal: {error}") from error


def _mounts(
    group: Group, spec: ContainerSpec, declared: tuple[str, ...]
) -> tuple[tuple[Mount, ...], dict[str, dict[str, str]]]:
    """The specification's mounts with volumes_from and the image's VOLUMEs added; the anonymous volumes' names and labels."""
    found = {bundle.checked_target(mount.target): mount for mount in spec.mounts}
    for source in spec.volumes_from:
        container_id, _, mode = source.removeprefix("container:").partition(":")
        for mount in group.other(container_id).spec.mounts:
            if mount.type in ("bind", "volume"):
                inherited = msgspec.structs.replace(mount, read_only=True) if mode == "ro" else mount
                found.setdefault(bundle.checked_target(mount.target), inherited)
    for target in declared:
        try:
            place = bundle.checked_target(target)
        except InvalidSpec as error:
            raise InvalidSpec(f"the image declares a volume at {target!r}: {error}") from error
        found.setdefault(place, Mount(type="volume", target=place))
    anonymous = {}
    for target, mount in found.items():
        if mount.type == "volume" and not mount.source:
            name = os.urandom(32).hex()
            anonymous[name] = mount.labels
            found[target] = msgspec.structs.replace(mount, source=name)
    return tuple(found.values()), anonymous
