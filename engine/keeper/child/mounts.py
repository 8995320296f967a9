"""One mount at a time, its target resolved inside the root by openat2(2), never by string."""

from __future__ import annotations

import os
import stat
from typing import Any

from engine.errors import OperationFailed
from engine.kernel import calls, flags

Entry = dict[str, Any]


def place(root: int, entry: Entry) -> None:
    """Mount `entry` below the directory descriptor `root`; the target is made when it is missing.

    entry: type (bind, file, tmpfs, proc, sysfs, mqueue, devpts, cgroup2, cgroup1, image), source, target, flags (names),
    data, propagation, recursive.
    """
    kind = entry["type"]
    try:
        if kind == "image":
            _image(root, entry)
        elif kind == "bind":
            _bind(root, entry)
        elif kind == "file":
            _file(root, entry)
        else:
            _filesystem(root, entry)
    except OperationFailed as error:
        raise OperationFailed(
            "mount", f"{entry.get('source') or kind} at {entry['target']}", detail=str(error)
        ) from error
    except OSError as error:
        raise OperationFailed.of("mount", f"{entry.get('source') or kind} at {entry['target']}", error) from error


def directory(root: int, path: str, mode: int = 0o755) -> int:
    """Open the directory `path` inside `root`, making what is missing; each step stays inside (RESOLVE_IN_ROOT)."""
    try:
        return calls.openat2(root, path, flags.O_PATH | os.O_DIRECTORY)
    except OperationFailed as error:
        if error.errno != 2:
            raise
    parent_path, _, name = path.rstrip("/").rpartition("/")
    parent = directory(root, parent_path or "/", 0o755)
    try:
        os.mkdir(name, mode, dir_fd=parent)
    except FileExistsError:
        pass  # a dangling symbolic link: the open below says so
    finally:
        os.close(parent)
    return calls.openat2(root, path, flags.O_PATH | os.O_DIRECTORY)


def regular(root: int, path: str, mode: int = 0o755) -> int:
    """Open the file `path` inside `root`, made empty when it is missing."""
    try:
        return calls.openat2(root, path, flags.O_PATH)
    except OperationFailed as error:
        if error.errno != 2:
            raise
    parent_path, _, name = path.rpartition("/")
    parent = directory(root, parent_path or "/")
    try:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=parent))
    except FileExistsError:
        pass
    finally:
        os.close(parent)
    return calls.openat2(root, path, flags.O_PATH)


def _bits(entry: Entry) -> int:
    bits = 0
    for name in entry.get("flags", ()):
        bits |= flags.MS[name]
    return bits


def _filesystem(root: int, entry: Entry) -> None:
    target = directory(root, entry["target"], entry.get("mode") or 0o755)
    try:
        calls.mount(
            entry.get("source") or entry["type"],
            f"/proc/self/fd/{target}",
            entry["type"],
            _bits(entry),
            entry.get("data"),
        )
    finally:
        os.close(target)


def _bind(root: int, entry: Entry) -> None:
    recursive = entry.get("recursive", True)
    bits = flags.OPEN_TREE_CLONE | (flags.AT_RECURSIVE if recursive else 0)
    tree = calls.open_tree(flags.AT_FDCWD, entry["source"], bits)
    try:
        is_folder = stat.S_ISDIR(os.fstat(tree).st_mode)
        target = directory(root, entry["target"]) if is_folder else regular(root, entry["target"])
        try:
            attributes = 0
            for name in entry.get("flags", ()):
                attributes |= flags.MOUNT_ATTR.get(name, 0)
            propagation = flags.MS[(entry.get("propagation") or "rprivate").removeprefix("r")]
            calls.mount_setattr(tree, propagation=propagation, recursive=recursive)
            # bind.recursive "writable": what is mounted below a read-only mount stays writable.
            calls.mount_setattr(tree, set_bits=attributes, recursive=recursive and not entry.get("writable_below"))
            calls.move_mount(tree, target)
        finally:
            os.close(target)
    finally:
        os.close(tree)


def _image(root: int, entry: Entry) -> None:
    """Another image's file system, read-only: its layers joined at the staging folder, then bound from there."""
    staging = entry["staging"]
    os.makedirs(f"{staging}/empty", exist_ok=True)
    lower = ":".join([*reversed(entry["layers"]), f"{staging}/empty"])
    os.makedirs(f"{staging}/root", exist_ok=True)
    calls.mount("overlay", f"{staging}/root", "overlay", flags.MS["ro"], f"lowerdir={lower},{entry['features']}")
    source = os.open(f"{staging}/root", flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        inner = calls.openat2(source, entry.get("subpath") or "/", flags.O_PATH)
        try:
            _bind(root, {**entry, "source": f"/proc/self/fd/{inner}", "flags": ["ro"]})
        finally:
            os.close(inner)
    finally:
        os.close(source)


def _file(root: int, entry: Entry) -> None:
    """A file of ours on a tmpfs of its own: `content` or the bytes of `source`, with owner and mode."""
    data = entry["content"].encode() if entry.get("content") is not None else _bytes(entry["source"])
    target = regular(root, entry["target"], 0o644)
    try:
        staging = entry["staging"]
        os.makedirs(staging, exist_ok=True)
        calls.mount("tmpfs", staging, "tmpfs", flags.MS["nosuid"] | flags.MS["nodev"] | flags.MS["noexec"], "mode=0700")
        path = f"{staging}/content"
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fchown(fd, entry.get("uid", 0), entry.get("gid", 0))
            os.fchmod(fd, entry.get("mode", 0o444))
        finally:
            os.close(fd)
        tree = calls.open_tree(flags.AT_FDCWD, path, flags.OPEN_TREE_CLONE)
        try:
            calls.mount_setattr(tree, set_bits=flags.MOUNT_ATTR["ro"] if entry.get("read_only", True) else 0)
            calls.move_mount(tree, target)
        finally:
            os.close(tree)
        calls.umount(staging)
    finally:
        os.close(target)


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def read_only(path: str) -> None:
    """Make the existing `path` of the container read-only; nothing when there is none."""
    try:
        tree = calls.open_tree(flags.AT_FDCWD, path, flags.OPEN_TREE_CLONE | flags.AT_RECURSIVE)
    except OperationFailed as error:
        if error.errno == 2:
            return
        raise
    try:
        calls.mount_setattr(tree, set_bits=flags.MOUNT_ATTR["ro"], recursive=True)
        target = os.open(path, flags.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            calls.move_mount(tree, target)
        finally:
            os.close(target)
    finally:
        os.close(tree)


def mask(path: str) -> None:
    """Cover `path`: a file by /dev/null (verified to be it, CVE-2025-31133), a directory by an empty read-only tmpfs."""
    try:
        target = os.open(path, flags.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        mode = os.fstat(target).st_mode
        where = f"/proc/self/fd/{target}"
        if stat.S_ISDIR(mode):
            calls.mount("tmpfs", where, "tmpfs", flags.MS["ro"], "size=0k,nr_inodes=2")
            return
        null = os.open("/dev/null", flags.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(null)
            if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
                raise OperationFailed("mask", path, detail="/dev/null is not the null device")
            tree = calls.open_tree(null, "", flags.OPEN_TREE_CLONE | flags.AT_EMPTY_PATH)
            try:
                calls.move_mount(tree, target)
            finally:
                os.close(tree)
        finally:
            os.close(null)
    finally:
        os.close(target)
