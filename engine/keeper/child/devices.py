"""The container's /dev, of Docker's shape (OCI runtime specification, config-linux.md, default devices)."""

from __future__ import annotations

import os
import stat

from engine.keeper.child import mounts
from engine.keeper.child.namespaces import Ids
from engine.kernel import calls, flags

TYPE_CHECKING = False  # of typing, which a keeper need not load
if TYPE_CHECKING:
    from engine.keeper.bundle import Device, Entry

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
    """Whether this is the mount that gets the device nodes."""
    return bool(entry["target"] == "/dev" and entry["type"] == "tmpfs")


def populate(folder: int, root: int, wanted: list[Device], ids: Ids) -> None:
    """Fill the fresh tmpfs open as `folder`, which is closed; `wanted` devices outside /dev go below `root`."""
    previous = os.umask(0)
    try:
        for name, major, minor in NODES:
            node: Device = {
                "path": f"/dev/{name}", "source": f"/dev/{name}", "kind": "c", "major": major, "minor": minor,
                "mode": 0o666, "uid": 0, "gid": 0,
            }  # fmt: skip
            _node(folder, name, node, ids)
        for name, target in LINKS:
            if name == "core" and not os.path.exists(target):
                continue
            os.symlink(target, name, dir_fd=folder)
            os.chown(name, *ids.owner(0, 0), dir_fd=folder, follow_symlinks=False)
        for device in wanted:
            inside = device["path"].startswith("/dev/")
            above, _, name = (device["path"].removeprefix("/dev") if inside else device["path"]).rpartition("/")
            parent = mounts.directory(folder if inside else root, above or "/")
            try:
                _node(parent, name, device, ids)
            finally:
                os.close(parent)
    finally:
        os.umask(previous)
        os.close(folder)


def _node(parent: int, name: str, device: Device, ids: Ids) -> None:
    try:
        os.mknod(
            name, KINDS[device["kind"]] | device["mode"], os.makedev(device["major"], device["minor"]), dir_fd=parent
        )
    except FileExistsError:
        return
    except PermissionError:
        _borrow(parent, name, device)  # we are in a user namespace already
        return
    os.chown(name, *ids.owner(device["uid"], device["gid"]), dir_fd=parent, follow_symlinks=False)


def _borrow(parent: int, name: str, device: Device) -> None:
    """The host's node in place of one of our own."""
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=parent))
    target = os.open(name, flags.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    tree = calls.open_tree(flags.AT_FDCWD, device["source"], flags.OPEN_TREE_CLONE)
    try:
        calls.move_mount(tree, target)
    finally:
        os.close(tree)
        os.close(target)
