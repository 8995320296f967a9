"""The container's /dev, as in Docker (OCI runtime specification, config-linux.md, default devices)."""

from __future__ import annotations

import functools
import os
import stat

from engine.errors import OperationFailed
from engine.keeper.child import targets
from engine.keeper.child.direct import Direct
from engine.keeper.child.namespaces import Ids
from engine.kernel import flags

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from engine.keeper.bundle import Device, Entry
    from engine.keeper.child.kernel import Kernel

LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
)
KINDS = {"c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
NODES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))


def is_place(entry: Entry) -> bool:
    """Whether this mount is /dev, which gets the device nodes."""
    return bool(entry["target"] == "/dev" and entry["type"] == "tmpfs")


def populate(kernel: Kernel, folder: int, root: int, wanted: list[Device], ids: Ids) -> None:
    """Fill the new tmpfs open as `folder`, and close it. `wanted` devices outside /dev are created below `root`."""
    previous = kernel.umask(0)
    try:
        for name, major, minor in NODES:
            _make(kernel, folder, name, _node(name, major, minor), ids)
        for name, target in LINKS:
            if name == "core" and not _is_there(target):
                continue
            kernel.symlink(target, folder, name)
            _own(kernel, folder, name, ids.owner(0, 0))
        for device in wanted:
            inside = device["path"].startswith("/dev/")
            above, _, name = (device["path"].removeprefix("/dev") if inside else device["path"]).rpartition("/")
            if inside and not above and name in PRESENT:
                continue
            with kernel.refused(functools.partial(_not_made, device["path"])):
                parent = targets.directory(kernel, folder if inside else root, above or "/")
                try:
                    _make(kernel, parent, name, device, ids)
                finally:
                    kernel.close(parent)
    finally:
        kernel.umask(previous)
        kernel.close(folder)


def _not_made(path: str, number: int) -> OperationFailed:
    return OperationFailed("create device", path, number, detail=os.strerror(number))


PRESENT = {name for name, *_ in (*NODES, *LINKS)}


def _node(name: str, major: int, minor: int) -> Device:
    path = f"/dev/{name}"
    return {
        "path": path, "source": path, "kind": "c", "major": major, "minor": minor, "mode": 0o666, "uid": 0, "gid": 0,
    }  # fmt: skip


@functools.cache
def _is_there(path: str) -> bool:
    """Whether the path exists on the host, whose /proc has the same files as the container's."""
    return os.path.lexists(path)


def _make(kernel: Kernel, parent: int, name: str, device: Device, ids: Ids) -> None:
    mode, number = KINDS[device["kind"]] | device["mode"], os.makedev(device["major"], device["minor"])
    try:
        kernel.mknod(parent, name, mode, number)
    except FileExistsError:
        return
    except PermissionError:
        _borrow(parent, name, device)  # we are already in a user namespace
        return
    _own(kernel, parent, name, ids.owner(device["uid"], device["gid"]))


def _own(kernel: Kernel, parent: int, name: str, owner: tuple[int, int]) -> None:
    if owner != (0, 0):
        kernel.chown(parent, name, *owner)


def _borrow(parent: int, name: str, device: Device) -> None:
    """Bind-mount the host's device node instead of creating one."""
    kernel = Direct()
    kernel.close(kernel.create(parent, name, 0o644, how=os.O_NOFOLLOW))
    target = os.open(name, flags.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    tree = kernel.open_tree(flags.AT_FDCWD, device["source"], flags.OPEN_TREE_CLONE)
    try:
        kernel.move_mount(tree, target)
    finally:
        kernel.close(tree)
        kernel.close(target)
