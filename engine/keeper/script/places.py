"""Places and mounts of a container as operations of a script; what each means is in engine/keeper/child/mounts.py."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable

from engine.keeper.child.mounts import IN_PROC, SYSTEM, bits_of, options, propagation_of
from engine.keeper.script.script import ABSENT, Script, Unscripted
from engine.kernel import flags

TYPE_CHECKING = False  # of typing, which a keeper need not load
if TYPE_CHECKING:
    from engine.keeper.bundle import Entry

_INSIDE = flags.RESOLVE_IN_ROOT | flags.RESOLVE_NO_MAGICLINKS
_PATH = flags.O_PATH | os.O_CLOEXEC
_FOLDER = _PATH | os.O_DIRECTORY
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_MOVE = flags.MOVE_MOUNT_F_EMPTY_PATH | flags.MOVE_MOUNT_T_EMPTY_PATH


def inside(
    script: Script,
    root: int,
    path: str,
    how: int = _PATH,
    *,
    links: bool = True,
    into: int = 0,
    allowed: tuple[int, int] = (0, 0),
    outcome: int = 0,
) -> int:
    """Open a path with every component resolved inside `root`; fails when it is missing, unless that is `allowed`. `outcome`:
    what else is no failure, or is one; see Script.call."""
    resolve = _INSIDE if links else _INSIDE | flags.RESOLVE_NO_SYMLINKS
    request = struct.pack("=QQQ", how, 0, resolve)
    return script.call("openat2", root, path, request, 24, into=into, allowed=allowed, flags=outcome)


def directory(script: Script, root: int, path: str, mode: int = 0o755, *, levels: int = 40) -> int:
    """Open the directory; it is made where it is missing, with `levels` - 1 of those above it."""
    mark = script.mark
    above, _, name = path.rstrip("/").rpartition("/")
    if not name or not levels:
        return inside(script, root, path, _FOLDER)
    found = inside(script, root, path, _FOLDER, allowed=(errno.ENOENT, 0))
    parent = directory(script, root, above or "/", levels=levels - 1)
    script.call("mkdirat", parent, name, mode)
    script.call("close", parent)
    inside(script, root, path, _FOLDER, into=found)
    script.optional(mark)
    return found


def regular(script: Script, root: int, path: str, mode: int, *, levels: int = 40) -> int:
    """Open the file; it is made, empty, where it is missing, with `levels` - 1 of the directories above it."""
    mark = script.mark
    above, _, name = path.rpartition("/")
    found = inside(script, root, path, _PATH, allowed=(errno.ENOENT, 0))
    parent = directory(script, root, above or "/", levels=levels - 1)
    how = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    script.call("close", script.call("openat", parent, name, how, mode))
    script.call("close", parent)
    inside(script, root, path, _PATH, into=found)
    script.optional(mark)
    return found


def owner(uid: int, gid: int) -> tuple[int, int]:
    """Ids that the kernel takes as they are: it sees 32 bits of them, and of all 32 that nothing is to change."""
    if not 0 <= min(uid, gid) <= max(uid, gid) < 0xFFFFFFFF:
        raise Unscripted("an id that is none")
    return uid, gid


def filesystem(script: Script, kind: str, source: str, options: str, attributes: Iterable[str]) -> int:
    """A new file system's mount, which is nowhere yet; see engine.kernel.detached."""
    context = script.call("fsopen", kind, 1)
    script.call("fsconfig", context, _SET_STRING, "source", source or kind, 0)
    for option in filter(None, options.split(",")):
        key, equals, value = option.partition("=")
        script.call("fsconfig", context, _SET_STRING if equals else _SET_FLAG, key, value if equals else 0, 0)
    script.call("fsconfig", context, _CREATE, 0, 0, 0)
    tree = script.call("fsmount", context, 1, sum(flags.MOUNT_ATTR.get(name, 0) for name in attributes))
    script.call("close", context)
    return tree


def bind(script: Script, entry: Entry) -> int:
    """A copy of the host's mounts at the entry's source, which is nowhere yet."""
    if entry.get("subpath") or entry.get("of"):
        raise Unscripted("a bind of something that others may change")
    recursive = entry.get("recursive", True)
    bits = flags.OPEN_TREE_CLONE | flags.OPEN_TREE_CLOEXEC | (flags.AT_RECURSIVE if recursive else 0)
    tree = script.call("open_tree", flags.AT_FDCWD, entry["source"], bits)
    chosen, cleared = bits_of(entry)
    propagation, below = propagation_of(entry)
    attributes(script, tree, propagation=propagation, below=below)
    if chosen or cleared:
        attributes(script, tree, chosen, cleared, below=recursive and not entry.get("writable_below"))
    return tree


def attributes(
    script: Script, tree: int, chosen: int = 0, cleared: int = 0, propagation: int = 0, *, below: bool = False
) -> None:
    arguments = struct.pack("=QQQQ", chosen, cleared, propagation, 0)
    bits = flags.AT_EMPTY_PATH | (flags.AT_RECURSIVE if below else 0)
    script.call("mount_setattr", tree, "", bits, arguments, 32)


def move(script: Script, tree: int, target: int) -> None:
    script.call("move_mount", tree, "", target, "", _MOVE)


def files(script: Script, entries: list[Entry], staging: str) -> dict[int, int]:
    """The mounts of files of ours, by the numbers of their entries, in one tmpfs. It lies on `staging` and goes with our old
    root."""
    found: dict[int, int] = {}
    wanted = {number: _content(entry) for number, entry in enumerate(entries) if entry["type"] == "file"}
    if not wanted:
        return found
    mount = flags.MS["nosuid"] | flags.MS["nodev"] | flags.MS["noexec"]
    script.call("mount", "tmpfs", staging, "tmpfs", mount, options(wanted.values()))
    for number, content in wanted.items():
        entry = entries[number]
        path = f"{staging}/{number}"
        how = os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC
        file = script.call("openat", flags.AT_FDCWD, path, how, 0o600)
        script.call("write", file, content, len(content))
        script.call("fchown", file, *owner(entry.get("uid", 0), entry.get("gid", 0)))
        script.call("fchmod", file, entry.get("mode", 0o444))
        script.call("close", file)
        bits = flags.OPEN_TREE_CLONE | flags.OPEN_TREE_CLOEXEC
        found[number] = script.call("open_tree", flags.AT_FDCWD, path, bits)
        if entry.get("read_only", True):
            attributes(script, found[number], flags.MOUNT_ATTR["ro"])
    return found


_LARGEST = 64 * 1024
"""Bytes of a file of ours that a script has room for; write(2) takes as many at once."""


def _content(entry: Entry) -> bytes:
    text = entry.get("content")
    if text is None:
        raise Unscripted("a file that we might have to wait for")
    content = text.encode()
    if len(content) > _LARGEST:
        raise Unscripted("a large file")
    return content


_EVERYWHERE = frozenset(
    "/proc /sys /dev /dev/pts /dev/shm /dev/mqueue /sys/fs/cgroup /etc/hosts /etc/hostname /etc/resolv.conf".split()
)


def attach(script: Script, root: int, entry: Entry, tree: int) -> None:
    """Put a mount (0: one that is made here) at its target."""
    path = entry["target"]
    if entry["type"] == "attributes":
        target = inside(script, root, path)
        attributes(script, target, sum(flags.MOUNT_ATTR[name] for name in entry["flags"]))
        script.call("close", target)
        return
    # What every container has is in its lowest layer, or directly below another mount that has just been made.
    levels = 1 if path in _EVERYWHERE or path.startswith("/sys/fs/cgroup/") else 40
    if not tree:
        tree = filesystem(
            script, entry["type"], entry.get("source", ""), entry.get("data") or "", entry.get("flags", ())
        )
        target = directory(script, root, path, entry.get("mode") or 0o755, levels=levels)
        if entry["type"] in SYSTEM:
            script.call("close", target)
            target = inside(script, root, path, _FOLDER, links=False)
    elif entry["type"] == "file":
        target = regular(script, root, path, 0o644, levels=levels)
    elif entry.get("folder", True):
        target = directory(script, root, path, levels=levels)
    else:
        target = regular(script, root, path, 0o755, levels=levels)
    if path not in IN_PROC:
        told = script.answer
        script.call("fstatfs", target, told)
        script.demand(told, -1, flags.PROC_SUPER_MAGIC, equal=False)
    move(script, tree, target)
    script.call("close", target)
    script.call("close", tree)


def missing(script: Script, root: int, path: str) -> None:
    """Fail unless there is nothing at the path."""
    inside(script, root, path, links=False, allowed=(errno.ENOENT, errno.ENOTDIR), outcome=ABSENT)


def proc(script: Script) -> int:
    """The container's /proc, verified to be a procfs (CVE-2019-16884's class)."""
    found = script.call("openat", flags.AT_FDCWD, "/proc", flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0)
    told = script.answer
    script.call("fstatfs", found, told)
    script.demand(told, -1, flags.PROC_SUPER_MAGIC)
    return found


def written(script: Script, folder: int, path: str) -> int:
    """A file of the same file system below `folder`, open for writing."""
    resolve = flags.RESOLVE_BENEATH | flags.RESOLVE_NO_XDEV | flags.RESOLVE_NO_MAGICLINKS
    how = struct.pack("=QQQ", os.O_WRONLY | os.O_CLOEXEC, 0, resolve)
    return script.call("openat2", folder, path, how, 24)
