"""One mount at a time, in two steps: `source` makes a mount that is nowhere yet, `attach` puts it into the container.

The target is resolved inside the root by openat2(2), never by string; a mount goes onto a descriptor. Sources need the
host's privileges and targets do not, so a container in a user namespace attaches what was made before it was entered.
"""

from __future__ import annotations

import errno
import os
import stat

from engine.errors import OperationFailed
from engine.keeper.child.namespaces import Ids
from engine.kernel import calls, detached, flags

TYPE_CHECKING = False  # of typing, which a keeper need not load
if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.keeper.bundle import Entry

"""type (bind, file, image, attributes, or a file system: tmpfs, proc, sysfs, mqueue, devpts, cgroup2), source, target,
flags (names), cleared (names: of a bind, what the source may have and the mount has not; relatime for the other ways to keep
times of access), data, propagation, recursive; folder: whether the source of a bind is a
directory; of: the mount namespace that has the source; subpath: below the source, out
of which no symbolic link leads; idmap: whether ids are shifted in a user namespace (required: or it fails, try, no)."""


def source(entry: Entry, ids: Ids) -> int:
    """The entry's mount, detached; -1 for a file system that only the container's own namespaces can make."""
    try:
        if entry["type"] == "image":
            return _image(entry, ids)
        if entry["type"] == "bind":
            return _bind(entry, ids)
        if entry["type"] == "file":
            return _file(entry, ids)
        return -1
    except OperationFailed as error:
        raise _named(entry, error) from error
    except OSError as error:
        raise OperationFailed.of("mount", _words(entry), error) from error


def place(root: int, entry: Entry) -> None:
    """Both steps, without a user namespace."""
    attach(root, entry, source(entry, Ids()))


def attach(root: int, entry: Entry, tree: int) -> None:
    """Put the mount `tree` (see `source`; it is closed) at the entry's target below the directory descriptor `root`.

    The target is made when it is missing.
    """
    try:
        if entry["type"] == "attributes":
            _attributes(root, entry)
            return
        if tree < 0:
            attributes, mode = entry.get("flags", ()), entry.get("mode") or 0o755
            tree = detached.filesystem(entry["type"], entry.get("source", ""), entry.get("data") or "", attributes)
            target = _system(root, entry) if entry["type"] in SYSTEM else directory(root, entry["target"], mode)
        elif stat.S_ISDIR(os.fstat(tree).st_mode):
            target = directory(root, entry["target"])
        else:
            target = regular(root, entry["target"], 0o644 if entry["type"] == "file" else 0o755)
        try:
            if calls.filesystem_type(target) == flags.PROC_SUPER_MAGIC and entry["target"] not in IN_PROC:
                # We write to the container's /proc, and it is masked: nothing may lie over it (CVE-2019-16884).
                raise OperationFailed("mount at", entry["target"], detail="it is inside /proc")
            calls.move_mount(tree, target)
        finally:
            os.close(target)
    except OperationFailed as error:
        raise _named(entry, error) from error
    except OSError as error:
        raise OperationFailed.of("mount", _words(entry), error) from error
    finally:
        if tree >= 0:
            os.close(tree)


def _attributes(root: int, entry: Entry) -> None:
    """No mount but more flags for one that had to be written to until now."""
    target = calls.openat2(root, entry["target"], flags.O_PATH)
    try:
        calls.mount_setattr(target, set_bits=sum(flags.MOUNT_ATTR[name] for name in entry["flags"]))
    finally:
        os.close(target)


SYSTEM = ("proc", "sysfs")
IN_PROC = tuple(
    f"/proc/{name}"
    for name in ("cpuinfo", "diskstats", "loadavg", "meminfo", "net/dev", "slabinfo", "stat", "swaps", "uptime")
)
"""Files of /proc that may be covered, as with other runtimes: what LXCFS makes."""


def _system(root: int, entry: Entry) -> int:
    """A plain directory for what will be written to and masked by its name: an image whose /proc is a symbolic link would
    have that happen elsewhere (CVE-2019-19921)."""
    os.close(directory(root, entry["target"]))
    links = flags.RESOLVE_IN_ROOT | flags.RESOLVE_NO_SYMLINKS
    return calls.openat2(root, entry["target"], flags.O_PATH | os.O_DIRECTORY, resolve=links)


def _words(entry: Entry) -> str:
    return f"{entry.get('source') or entry['type']} at {entry['target']}"


def _named(entry: Entry, error: OperationFailed) -> OperationFailed:
    return OperationFailed("mount", _words(entry), detail=str(error))


def directory(root: int, path: str, mode: int = 0o755, links: int = 0) -> int:
    """Open the directory `path` inside `root`, making what is missing; each step stays inside (RESOLVE_IN_ROOT)."""
    try:
        return calls.openat2(root, path, flags.O_PATH | os.O_DIRECTORY)
    except OperationFailed as error:
        if error.errno != errno.ENOENT or links > _LINKS:
            raise
    above, _, name = path.rstrip("/").rpartition("/")
    parent = directory(root, above or "/", 0o755, links + 1)
    try:
        os.mkdir(name, mode, dir_fd=parent)
    except FileExistsError:
        behind = _behind(above, parent, name)
        if behind is not None:
            return directory(root, behind, mode, links + 1)
    finally:
        os.close(parent)
    return calls.openat2(root, path, flags.O_PATH | os.O_DIRECTORY)


def regular(root: int, path: str, mode: int = 0o755, links: int = 0) -> int:
    """Open the file `path` inside `root`, made empty when it is missing."""
    try:
        return calls.openat2(root, path, flags.O_PATH)
    except OperationFailed as error:
        if error.errno != errno.ENOENT or links > _LINKS:
            raise
    above, _, name = path.rpartition("/")
    parent = directory(root, above or "/", 0o755, links + 1)
    try:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=parent))
    except FileExistsError:
        behind = _behind(above, parent, name)
        if behind is not None:
            return regular(root, behind, mode, links + 1)
    finally:
        os.close(parent)
    return calls.openat2(root, path, flags.O_PATH)


_LINKS = 40


def _behind(above: str, parent: int, name: str) -> str | None:
    """Where the link `name` leads, which is a place that does not exist yet; None for what is no link.

    What is there when the path is opened is still looked up inside the root.
    """
    try:
        target = os.readlink(name, dir_fd=parent)
    except OSError:
        return None
    return target if target.startswith("/") else f"{above}/{target}"


def _bind(entry: Entry, ids: Ids) -> int:
    if entry.get("of"):
        return _others(entry, ids)
    if not entry.get("subpath"):
        return bind_tree(flags.AT_FDCWD, entry["source"], entry, ids)
    # Somebody may be swapping the components for symbolic links (CVE-2021-30465): what was resolved is what is cloned.
    above = os.open(entry["source"], flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        inner = calls.openat2(above, entry["subpath"].strip("/") or ".", flags.O_PATH, resolve=flags.RESOLVE_BENEATH)
    finally:
        os.close(above)
    try:
        return bind_tree(inner, "", entry, ids)
    finally:
        os.close(inner)


def _others(entry: Entry, ids: Ids) -> int:
    """A mount of the container whose mount namespace is the file `of`: only from within can it be copied."""
    own, theirs = (os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in ("/proc/self/ns/mnt", entry["of"]))
    calls.setns(theirs, flags.CLONE["mount"], subject=entry["of"])
    try:
        root = os.open("/", flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # That container's root may have made it a link to anywhere.
        links = flags.RESOLVE_IN_ROOT | flags.RESOLVE_NO_SYMLINKS
        inner = calls.openat2(root, entry["source"], flags.O_PATH, resolve=links)
        os.close(root)
        return bind_tree(inner, "", entry, ids)
    finally:
        calls.setns(own, flags.CLONE["mount"])
        os.close(own)
        os.close(theirs)


def bind_tree(folder: int, path: str, entry: Entry, ids: Ids) -> int:
    """A copy of the mounts at `path` ("": the descriptor itself), with the entry's attributes."""
    recursive = entry.get("recursive", True)
    bits = flags.OPEN_TREE_CLONE | (flags.AT_RECURSIVE if recursive else 0) | (0 if path else flags.AT_EMPTY_PATH)
    tree = calls.open_tree(folder, path, bits)
    try:
        chosen, cleared = bits_of(entry)
        propagation, below = propagation_of(entry)
        calls.mount_setattr(tree, propagation=propagation, recursive=below)
        # bind.recursive "writable": what is mounted below a read-only mount stays writable.
        deep = recursive and not entry.get("writable_below")
        calls.mount_setattr(tree, set_bits=chosen, clear_bits=cleared, recursive=deep)
        if ids.namespace >= 0 and entry.get("idmap", "try") != "no":
            _shift(tree, ids, recursive, must=entry.get("idmap") == "required")
    except BaseException:
        os.close(tree)
        raise
    return tree


def bits_of(entry: Entry) -> tuple[int, int]:
    """What mount_setattr(2) sets and clears for a bind."""
    chosen = sum(flags.MOUNT_ATTR.get(name, 0) for name in entry.get("flags", ()))
    cleared = sum(flags.MOUNT_ATTR.get(name, 0) for name in entry.get("cleared", ()))
    if chosen & flags.MOUNT_ATTR_ATIME or "relatime" in entry.get("cleared", ()):
        cleared |= flags.MOUNT_ATTR_ATIME
    return chosen, cleared


def propagation_of(entry: Entry) -> tuple[int, bool]:
    """A bind's propagation, and whether what is mounted below has it, too."""
    propagation = entry.get("propagation") or "rprivate"
    return flags.MS[propagation.removeprefix("r")], entry.get("recursive", True) and propagation.startswith("r")


def _shift(tree: int, ids: Ids, recursive: bool, *, must: bool) -> None:
    """Map the ids of `tree`. Without `must` a file system that cannot keeps its ids: they belong to nobody inside."""
    try:
        calls.mount_setattr(tree, set_bits=flags.MOUNT_ATTR["idmap"], recursive=recursive, userns=ids.namespace)
    except OperationFailed as error:
        if must or error.errno not in (1, 22):  # EPERM, EINVAL
            raise OperationFailed("map the ids of", "the mount", detail=str(error)) from error


def _image(entry: Entry, ids: Ids) -> int:
    """Another image's file system: its layers joined at the staging folder, then bound from there. Read-only unless
    the entry has an `upper` folder, with `work` for overlayfs."""
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
            # Its layers are shifted already.
            return bind_tree(inner, "", {**entry, "flags": [] if writable else ["ro"], "idmap": "no"}, ids)
        finally:
            os.close(inner)
    finally:
        os.close(above)


ROOM = 4 << 20
"""Bytes that the files which we write into a container may grow by together, as its root can write to /etc/hosts."""


def options(contents: Iterable[bytes]) -> str:
    """The mount options of a tmpfs for files of ours (tmpfs(5)); a page is at most 64 KiB."""
    return f"mode=0700,size={ROOM + sum(len(content) + 65536 for content in contents)}"


def _file(entry: Entry, ids: Ids) -> int:
    """A file of ours on a tmpfs of its own: `content` or the bytes of `source`, with owner and mode."""
    content = entry.get("content")
    data = _bytes(entry["source"]) if content is None else content.encode()
    staging = entry["staging"]
    os.makedirs(staging, exist_ok=True)
    bits = flags.MS["nosuid"] | flags.MS["nodev"] | flags.MS["noexec"]
    calls.mount("tmpfs", staging, "tmpfs", bits, options([data]))
    path = f"{staging}/content"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fchown(fd, *ids.owner(entry.get("uid", 0), entry.get("gid", 0)))
        os.fchmod(fd, entry.get("mode", 0o444))
    finally:
        os.close(fd)
    tree = calls.open_tree(flags.AT_FDCWD, path, flags.OPEN_TREE_CLONE)
    calls.mount_setattr(tree, set_bits=flags.MOUNT_ATTR["ro"] if entry.get("read_only", True) else 0)
    calls.umount(staging)
    return tree


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
