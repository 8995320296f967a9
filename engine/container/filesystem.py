"""A container's file system as a directory descriptor, for cp and export.

running   its mount namespace is entered by a thread that opens the root and ends; nothing of the container is executed,
          loaded or looked up by name in our process (CVE-2019-14271)
stopped   the overlay, and for `whole` its volumes, are mounted in a namespace that only the descriptor keeps alive

Paths are then resolved below the descriptor (engine.image.tree), never in our own root.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from engine.container import bundle, mounts, userns
from engine.errors import NotFound, OperationFailed, WrongState
from engine.image.images import ImageStore
from engine.image.merged import merged
from engine.keeper.child import mounts as placing
from engine.keeper.child import rootfs
from engine.keeper.child.direct import Direct
from engine.kernel import calls, flags
from engine.paths import Roots, make_seen
from engine.spec.image import ImageRecord
from engine.spec.network import VolumeRecord
from engine.spec.state import ContainerRecord
from engine.volume import store as volumes

_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
T = TypeVar("T")


@contextlib.contextmanager
def whole(images: ImageStore, record: ContainerRecord) -> Iterator[int]:
    """The root as the container sees it, with all mounts; for a stopped one, with binds, volumes and images."""
    if record.state.status.alive:
        descriptors = [_apart(lambda: _entered(record, clone=False))]
    else:
        # The database belongs to this thread, so everything is looked up before.
        image, found = images.need(record.spec.image), _volumes(images, record)
        layers = _layers(images, record)
        descriptors = _apart(lambda: _assembled(images.store.roots, record, image, found, layers))
    try:
        yield descriptors[0]
    finally:
        for fd in descriptors:
            os.close(fd)


@contextlib.contextmanager
def alone(images: ImageStore, record: ContainerRecord) -> Iterator[int]:
    """The image's layers and the container's changes, without mounts."""
    # The disk has the ids that a container in a private user namespace sees; in its mounts they are shifted.
    if record.state.status.alive and not userns.is_private(record.spec):
        fd = _apart(lambda: _entered(record, clone=True))
        try:
            yield fd
        finally:
            os.close(fd)
        return
    roots = images.store.roots
    layers = [f"{roots.layers}/{layer}/diff" for layer in images.need(record.spec.image).layers]
    upper = f"{roots.container(record.group, record.id)}/upper"
    with merged([*layers, *([upper] if os.path.isdir(upper) else [])]) as fd:
        yield fd


def _entered(record: ContainerRecord, *, clone: bool) -> int:
    """The root of a running container's mount namespace; with `clone` only its file system, without mounts."""
    exited = WrongState(f"container {record.spec.name} has just exited")
    try:
        pidfd = calls.pidfd_open(record.state.pid)
    except OperationFailed as error:
        raise exited from error
    try:
        if calls.start_time(record.state.pid) != record.state.pid_start:
            raise exited
        calls.unshare(flags.CLONE_FS)
        try:
            calls.setns(pidfd, flags.CLONE["mount"], subject=f"the mount namespace of {record.spec.name}")
        except OperationFailed as error:
            if calls.start_time(record.state.pid) != record.state.pid_start:
                raise exited from error
            raise
    finally:
        os.close(pidfd)
    if not clone:
        return os.open("/", _ROOT)
    tree = calls.open_tree(flags.AT_FDCWD, "/", flags.OPEN_TREE_CLONE)
    try:
        return os.open(".", _ROOT, dir_fd=tree)
    finally:
        os.close(tree)


def _assembled(
    roots: Roots,
    record: ContainerRecord,
    image: ImageRecord,
    found: list[VolumeRecord],
    layers: dict[str, list[str]],
) -> list[int]:
    """Mount a stopped container's root in a new namespace: descriptors of the root and of the namespace."""
    folder = roots.container(record.group, record.id)
    calls.unshare(flags.CLONE["mount"])
    calls.mount(None, "/", None, flags.MS["rec"] | flags.MS["private"])
    facts = bundle.rootfs(image, folder, roots.layers)
    for part in (facts["upper"], facts["work"]):
        make_seen(part)
    rootfs.overlay(Direct(), facts)
    root = os.open(facts["root"], _ROOT)
    try:
        places = {volume.spec.name: volumes.prepare(volume) for volume in found}
        sources = mounts.Sources(folder=folder, volumes=places, images=layers)
        for entry in mounts.stored(record.spec, sources):
            placing.place(root, entry)
        if record.spec.read_only:
            calls.mount(None, facts["root"], None, flags.MS["remount"] | flags.MS["bind"] | flags.MS["ro"])
        return [root, os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)]
    except BaseException:
        os.close(root)
        raise


def _volumes(images: ImageStore, record: ContainerRecord) -> list[VolumeRecord]:
    found = []
    for name in {mount.source for mount in record.spec.mounts if mount.type == "volume"}:
        volume = volumes.get(images.store, name)
        if volume is None:
            raise NotFound("volume", name)
        found.append(volume)
    return found


def _layers(images: ImageStore, record: ContainerRecord) -> dict[str, list[str]]:
    """Mounted image → directories of its layers."""
    folder = images.store.roots.layers
    mounted = {mount.source for mount in record.spec.mounts if mount.type == "image"}
    return {source: [f"{folder}/{layer}/diff" for layer in images.need(source).layers] for source in mounted}


def _apart(work: Callable[[], T]) -> T:
    """Run `work`, which changes its thread's namespaces, in a separate thread."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # raised in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="filesystem")
    thread.start()
    thread.join()
    if errors:
        if isinstance(errors[0], OSError):
            raise OperationFailed.of("open", "the container's root", errors[0]) from errors[0]
        raise errors[0]
    return results[0]
