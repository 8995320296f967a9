"""Single mounts, in two steps: `source` creates a detached mount, `attach` attaches it in the container. The target is
resolved inside the root (targets.py), and mounts are attached to descriptors. Sources need the host's privileges and
targets do not, so with a user namespace the sources are created before it is entered.
"""

from __future__ import annotations

import errno
import os

from engine.errors import OperationFailed
from engine.keeper.child import targets
from engine.keeper.child.direct import Direct
from engine.keeper.child.namespaces import Ids
from engine.kernel import calls, flags

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.keeper.bundle import Bundle, Entry
    from engine.keeper.child.kernel import Kernel

_LARGEST = 64 * 1024
"""The largest file of ours, in bytes, that fits into a recording; one write(2) can write it."""


def only_directly(bundle: Bundle) -> str:
    """Why a recorded start cannot make these mounts; see steps.py."""
    for entry in bundle["mounts"]:
        if entry["type"] == "image":
            return "another image"
        if entry["type"] == "bind" and (entry.get("subpath") or entry.get("of")):
            return "a bind of something that others may change"
        if entry["type"] == "file" and entry.get("content") is None:
            return "a file that we might have to wait for"
        if entry["type"] == "file" and len((entry["content"] or "").encode()) > _LARGEST:
            return "a large file"
    return ""


def place(root: int, entry: Entry) -> None:
    """Both steps, for a bind or an image without a user namespace."""
    kernel = Direct()
    attach(kernel, root, entry, source(kernel, entry, Ids()))


def source(kernel: Kernel, entry: Entry, ids: Ids) -> int:
    """The detached mount of a bind or an image."""
    try:
        return _image(entry, ids) if entry["type"] == "image" else _bind(kernel, entry, ids)
    except OperationFailed as error:
        raise _named(entry, error) from error
    except OSError as error:
        raise OperationFailed.of("mount", _words(entry), error) from error


def attach(kernel: Kernel, root: int, entry: Entry, tree: int) -> None:
    """Attach the mount `tree` to the entry's target below the directory descriptor `root`, and close it. -1: a file
    system that must be created inside the container's namespaces; it is created here. A missing target is created.
    """
    try:
        if entry["type"] == "attributes":
            _attributes(kernel, root, entry)
            return
        if tree < 0:
            tree, target = _system(kernel, root, entry)
        else:
            target = _target(kernel, root, entry, tree)
        try:
            if entry["target"] not in IN_PROC:
                kernel.demand_filesystem(target, flags.PROC_SUPER_MAGIC, lambda: _in_proc(entry), other=True)
            kernel.move_mount(tree, target)
        finally:
            kernel.close(target)
    except OperationFailed as error:
        raise _named(entry, error) from error
    except OSError as error:
        raise OperationFailed.of("mount", _words(entry), error) from error
    finally:
        if tree >= 0:
            kernel.close(tree)


def _attributes(kernel: Kernel, root: int, entry: Entry) -> None:
    """Change the flags of a mount that had to be writable until now."""
    target = kernel.open_or_make(root, entry["target"], flags.O_PATH, None)
    try:
        kernel.mount_setattr(target, set_bits=sum(flags.MOUNT_ATTR[name] for name in entry["flags"]))
    finally:
        kernel.close(target)


IN_PROC = tuple(
    f"/proc/{name}"
    for name in ("cpuinfo", "diskstats", "loadavg", "meminfo", "net/dev", "slabinfo", "stat", "swaps", "uptime")
)
"""Files of /proc that a mount may cover, as in other runtimes: those of LXCFS."""


def _in_proc(entry: Entry) -> OperationFailed:
    """Refuse other mounts below /proc: we write to the container's /proc and mask parts of it (CVE-2019-16884)."""
    return OperationFailed("mount at", entry["target"], detail="it is inside /proc")


def _system(kernel: Kernel, root: int, entry: Entry) -> tuple[int, int]:
    """A new file system and its target."""
    path = entry["target"]
    tree = kernel.filesystem(entry["type"], entry.get("source", ""), entry.get("data") or "", entry.get("flags", ()))
    target = targets.directory(kernel, root, path, entry.get("mode") or 0o755, kernel.levels(path))
    if entry["type"] not in ("proc", "sysfs"):
        return tree, target
    # We later write to and mask /proc by name. If the image's /proc were a symbolic link, that would happen elsewhere
    # (CVE-2019-19921), so it must be a plain directory.
    kernel.close(target)
    links = flags.RESOLVE_IN_ROOT | flags.RESOLVE_NO_SYMLINKS
    return tree, kernel.open_within(root, path, flags.O_PATH | os.O_DIRECTORY, links)


def _target(kernel: Kernel, root: int, entry: Entry, tree: int) -> int:
    """Open the target, a directory or a file as the source is."""
    path, is_file = entry["target"], entry["type"] == "file"
    if kernel.is_folder(tree, not is_file and entry.get("folder", True)):
        return targets.directory(kernel, root, path, levels=kernel.levels(path))
    return targets.regular(kernel, root, path, 0o644 if is_file else 0o755, kernel.levels(path))


def _words(entry: Entry) -> str:
    return f"{entry.get('source') or entry['type']} at {entry['target']}"


_MEANINGS = {
    ("move_mount", errno.EINVAL): "the source is a file, but the target is a directory in the container",
    ("open", errno.ENOTDIR): "the target, or a directory above it, is a file in the container",
    ("open", errno.ELOOP): "the path of the target has too many symbolic links",
    ("open", errno.EXDEV): "the path of the target leads out of the container",
}
"""Why a system call on a target fails, in words."""


def _named(entry: Entry, error: OperationFailed) -> OperationFailed:
    return OperationFailed("mount", _words(entry), detail=_MEANINGS.get((error.operation, error.errno)) or str(error))


def _bind(kernel: Kernel, entry: Entry, ids: Ids) -> int:
    if entry.get("of"):
        return _others(entry, ids)
    if not entry.get("subpath"):
        return bind_tree(kernel, flags.AT_FDCWD, entry["source"], entry, ids)
    # Components could be replaced by symbolic links (CVE-2021-30465), so clone the resolved descriptor.
    above = kernel.open(entry["source"], flags.O_PATH | os.O_DIRECTORY)
    try:
        path = entry["subpath"].strip("/") or "."
        inner = kernel.open_within(above, path, flags.O_PATH, flags.RESOLVE_BENEATH)
    finally:
        kernel.close(above)
    try:
        return bind_tree(kernel, inner, "", entry, ids)
    finally:
        kernel.close(inner)


def _others(entry: Entry, ids: Ids) -> int:
    """A copy of a mount of the container whose mount namespace is the file `of`; it can only be copied from inside."""
    own, theirs = (os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in ("/proc/self/ns/mnt", entry["of"]))
    calls.setns(theirs, flags.CLONE["mount"], subject=entry["of"])
    try:
        root = os.open("/", flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # Root in that container may have replaced it by a link.
        links = flags.RESOLVE_IN_ROOT | flags.RESOLVE_NO_SYMLINKS
        inner = calls.openat2(root, entry["source"], flags.O_PATH, resolve=links)
        os.close(root)
        return bind_tree(Direct(), inner, "", entry, ids)
    finally:
        calls.setns(own, flags.CLONE["mount"])
        os.close(own)
        os.close(theirs)


def bind_tree(kernel: Kernel, folder: int, path: str, entry: Entry, ids: Ids) -> int:
    """A copy of the mounts at `path` ("": of the descriptor itself), with the entry's attributes."""
    recursive = entry.get("recursive", True)
    bits = flags.OPEN_TREE_CLONE | (flags.AT_RECURSIVE if recursive else 0) | (0 if path else flags.AT_EMPTY_PATH)
    tree = kernel.open_tree(folder, path, bits)
    try:
        propagation, below = _propagation(entry)
        kernel.mount_setattr(tree, propagation=propagation, recursive=below)
        chosen, cleared = _bits(entry)
        if chosen or cleared:
            # bind.recursive "writable": mounts below a read-only mount stay writable.
            deep = recursive and not entry.get("writable_below")
            kernel.mount_setattr(tree, set_bits=chosen, clear_bits=cleared, recursive=deep)
        if ids.namespace >= 0 and entry.get("idmap", "try") != "no":
            _shift(tree, ids, recursive, must=entry.get("idmap") == "required")
    except BaseException:
        kernel.close(tree)
        raise
    return tree


def _bits(entry: Entry) -> tuple[int, int]:
    """The attributes that mount_setattr(2) sets and clears on a bind."""
    chosen = sum(flags.MOUNT_ATTR.get(name, 0) for name in entry.get("flags", ()))
    cleared = sum(flags.MOUNT_ATTR.get(name, 0) for name in entry.get("cleared", ()))
    if chosen & flags.MOUNT_ATTR_ATIME or "relatime" in entry.get("cleared", ()):
        cleared |= flags.MOUNT_ATTR_ATIME
    return chosen, cleared


def _propagation(entry: Entry) -> tuple[int, bool]:
    """A bind's propagation, and whether it also applies to mounts below it."""
    propagation = entry.get("propagation") or "rprivate"
    return flags.MS[propagation.removeprefix("r")], entry.get("recursive", True) and propagation.startswith("r")


def _shift(tree: int, ids: Ids, recursive: bool, *, must: bool) -> None:
    """Map the ids of `tree`. Without `must`, a file system that does not support it keeps its ids, which then map to no
    user inside."""
    try:
        calls.mount_setattr(tree, set_bits=flags.MOUNT_ATTR["idmap"], recursive=recursive, userns=ids.namespace)
    except OperationFailed as error:
        if must or error.errno not in (1, 22):  # EPERM, EINVAL
            raise OperationFailed("map the ids of", "the mount", detail=str(error)) from error


def _image(entry: Entry, ids: Ids) -> int:
    """The file system of an image: its layers are mounted at the staging folder, then bound from there. Read-only
    unless the entry has an `upper` folder, with `work` for overlayfs."""
    staging = entry["staging"]
    os.makedirs(f"{staging}/empty", exist_ok=True)
    lower = ":".join([*reversed(entry["layers"]), f"{staging}/empty"])
    os.makedirs(f"{staging}/root", exist_ok=True)
    writable = f",upperdir={entry['upper']},workdir={entry['work']}" if "upper" in entry else ""
    bits = 0 if writable else flags.MS["ro"]
    os.chdir(
        entry.get("within", "/")
    )  # mount(2) takes one page of options, so layers may be named relative to their folder
    calls.mount("overlay", f"{staging}/root", "overlay", bits, f"lowerdir={lower},{entry['features']}{writable}")
    os.chdir("/")
    above = os.open(f"{staging}/root", flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        inner = calls.openat2(above, entry.get("subpath") or "/", flags.O_PATH)
        try:
            # The ids of its layers are already mapped.
            shown: Entry = {**entry, "flags": [] if writable else ["ro"], "idmap": "no"}
            return bind_tree(Direct(), inner, "", shown, ids)
        finally:
            os.close(inner)
    finally:
        os.close(above)


ROOM = 4 << 20
"""Bytes by which our files in a container may grow in total; its root can write to /etc/hosts."""


def files(kernel: Kernel, entries: list[Entry], staging: str, ids: Ids) -> dict[int, int]:
    """The mounts of files with our content (`content`, or the bytes of `source`), with owner and mode, by number of the
    entry. All are in one tmpfs, which covers `staging` and disappears with our old root."""
    found: dict[int, int] = {}
    wanted = {number: _content(entry) for number, entry in enumerate(entries) if entry["type"] == "file"}
    if not wanted:
        return found
    bits = flags.MS["nosuid"] | flags.MS["nodev"] | flags.MS["noexec"]
    kernel.mount("tmpfs", staging, "tmpfs", bits, _options(wanted.values()))
    for number, content in wanted.items():
        entry = entries[number]
        path = f"{staging}/{number}"
        file = kernel.create(flags.AT_FDCWD, path, 0o600)
        kernel.write(file, content)
        kernel.fchown(file, *ids.owner(entry.get("uid", 0), entry.get("gid", 0)))
        kernel.fchmod(file, entry.get("mode", 0o444))
        kernel.close(file)
        found[number] = kernel.open_tree(flags.AT_FDCWD, path, flags.OPEN_TREE_CLONE)
        if entry.get("read_only", True):
            kernel.mount_setattr(found[number], set_bits=flags.MOUNT_ATTR["ro"])
    return found


def _options(contents: Iterable[bytes]) -> str:
    """The mount options of the tmpfs for our files (tmpfs(5)); a page is at most 64 KiB."""
    return f"mode=0700,size={ROOM + sum(len(content) + 65536 for content in contents)}"


def _content(entry: Entry) -> bytes:
    content = entry.get("content")
    if content is not None:
        return content.encode()
    try:
        with open(entry["source"], "rb") as file:
            return file.read()
    except OSError as error:
        raise OperationFailed.of("mount", _words(entry), error) from error
