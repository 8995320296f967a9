"""The container's /dev, of Docker's shape (OCI runtime specification, config-linux.md, default devices)."""

from __future__ import annotations

import os
import stat
from typing import Any

from engine.keeper.child import mounts
from engine.kernel import calls, flags

_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
)
_NODES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))


def populate(root: int, wanted: list[dict[str, Any]], *, privileged: bool) -> None:
    """Fill the fresh tmpfs at /dev. `wanted`: path, major, minor, kind ("c" or "b"), mode, uid, gid; all for privileged."""
    folder = calls.openat2(root, "/dev", os.O_RDONLY | os.O_DIRECTORY)
    previous = os.umask(0)
    try:
        for name, major, minor in _NODES:
            _make(folder, name, stat.S_IFCHR | 0o666, os.makedev(major, minor), f"/dev/{name}")
        for name, target in _LINKS:
            os.symlink(target, name, dir_fd=folder)
        for device in wanted:
            _node(root, device)
    finally:
        os.umask(previous)
        os.close(folder)


def _node(root: int, device: dict[str, Any]) -> None:
    parent_path, _, name = device["path"].rpartition("/")
    parent = mounts.directory(root, parent_path or "/")
    kind = stat.S_IFBLK if device["kind"] == "b" else stat.S_IFCHR
    try:
        number = os.makedev(device["major"], device["minor"])
        try:
            made = _make(parent, name, kind | device["mode"], number, device["source"])
        except FileExistsError:
            return
        if made:
            os.chown(name, device["uid"], device["gid"], dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(parent)


def _make(folder: int, name: str, mode: int, number: int, source: str) -> bool:
    """Make the device; where a user namespace forbids that, bind the host's file and say False."""
    try:
        os.mknod(name, mode, number, dir_fd=folder)
        return True
    except PermissionError:
        target = os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDONLY | os.O_CLOEXEC, 0o666, dir_fd=folder)
    try:
        tree = calls.open_tree(flags.AT_FDCWD, source, flags.OPEN_TREE_CLONE)
        try:
            calls.move_mount(tree, target)
        finally:
            os.close(tree)
    finally:
        os.close(target)
    return False
