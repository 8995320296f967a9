"""The container's file system tree: overlay, mounts, devices, pivot_root; all inside our private mount namespace."""

from __future__ import annotations

import os

from engine.errors import OperationFailed
from engine.keeper.child import devices, mounts, process, sealing, terminal
from engine.keeper.child.namespaces import Ids
from engine.kernel import calls, detached, flags

TYPE_CHECKING = False  # of typing, which a keeper need not load
if TYPE_CHECKING:
    from engine.keeper.bundle import Bundle, Entry, RootFs


class Parts:
    """Mounts that are in no tree yet: the root, and those of bundle["mounts"] (-1: made where it is attached)."""

    def __init__(self, root: int, mounts: list[int]) -> None:
        self.root = root
        self.mounts = mounts


def prepare(bundle: Bundle, ids: Ids) -> Parts:
    """Make what needs the host's privileges. Our mount namespace is private; a user namespace is not entered yet."""
    process.preload(bundle["process"].get("seccomp", ""))
    rootfs = bundle["rootfs"]
    # Binds are taken while our mounts are the peers of the host's, for those that are to be shared with it.
    found = [mounts.source(entry, ids) if entry["type"] == "bind" else -1 for entry in bundle["mounts"]]
    # Slave, so that nothing of ours reaches the host.
    calls.mount(None, "/", None, flags.MS["rec"] | flags.MS["slave"])
    for folder in dict.fromkeys((rootfs["upper"], rootfs["work"], rootfs["root"])):
        os.makedirs(folder, exist_ok=True)
    for number, entry in enumerate(bundle["mounts"]):
        if entry["type"] == "file":
            found[number] = mounts.source(entry, ids)
    if ids.namespace >= 0:
        for folder in dict.fromkeys(
            (rootfs["layers_folder"], *map(os.path.dirname, (rootfs["upper"], rootfs["root"])))
        ):
            _shift(folder, ids)
        # What overlayfs makes by itself (its work folder) must belong to somebody whom the mounts' maps know.
        calls.set_filesystem_owner(*ids.owner(0, 0))
    overlay(rootfs, rootfs["root"])
    for number, entry in enumerate(bundle["mounts"]):
        if entry["type"] == "image":
            found[number] = mounts.source(entry, ids)
        elif ids.namespace >= 0 and devices.is_place(entry):
            found[number] = _devices(bundle, entry, ids)
    bits = flags.OPEN_TREE_CLONE if ids.namespace >= 0 else 0
    return Parts(calls.open_tree(flags.AT_FDCWD, rootfs["root"], bits), found)


def assemble(bundle: Bundle, parts: Parts, ids: Ids) -> int | None:
    """Put the parts together and move in. Returns the terminal's master when the process wants a terminal."""
    if ids.namespace >= 0:
        # In a namespace that may not reach its folder, "/" is a mount point as good as another.
        above = os.open("/", flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        calls.move_mount(parts.root, above)
        os.close(above)
    for entry, tree in zip(bundle["mounts"], parts.mounts, strict=True):
        mounts.attach(parts.root, entry, tree)
        if tree < 0 and devices.is_place(entry):
            folder = calls.openat2(parts.root, "/dev", os.O_RDONLY | os.O_DIRECTORY)
            devices.populate(folder, parts.root, bundle["devices"], Ids())
    _pivot(parts.root)
    os.close(parts.root)
    _working_directory(bundle["process"]["cwd"])
    process = bundle["process"]
    master = terminal.open_pair(*process.get("console_size", ())) if process.get("tty") else None
    if master is not None:
        terminal.bind_console()
    return master


def _working_directory(path: str) -> None:
    """Made before the root may become read-only; what is wrong with it is said when the process changes to it."""
    try:
        os.makedirs(path or "/", exist_ok=True)
    except OSError:
        pass


def seal(bundle: Bundle) -> None:
    """The last changes to the tree, after sysctls are written: masked and read-only paths, a read-only root."""
    sealing.read_only(bundle["read_only_paths"])
    sealing.mask(bundle["masked_paths"])
    if bundle["rootfs"]["read_only"]:
        calls.mount(None, "/", None, flags.MS["remount"] | flags.MS["bind"] | flags.MS["ro"])


def _shift(folder: str, ids: Ids) -> None:
    """Cover the folder by itself, its ids mapped; only our mount namespace sees that."""
    tree = mounts.bind_tree(
        flags.AT_FDCWD, folder, {"type": "bind", "target": folder, "recursive": False, "idmap": "required"}, ids
    )
    target = os.open(folder, flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        calls.move_mount(tree, target)
    finally:
        os.close(tree)
        os.close(target)


def overlay(rootfs: RootFs, target: str) -> None:
    """Overlayfs with lower directories relative to the layers' folder, so that many fit in mount(2)'s one page."""
    os.chdir(rootfs["layers_folder"])
    calls.mount("overlay", target, "overlay", 0, options(rootfs))
    os.chdir("/")


def options(rootfs: RootFs) -> str:
    """What overlayfs is told, for a process in the layers' folder. Raises OperationFailed when it does not fit."""
    lower = ":".join(reversed(rootfs["layers"]))
    # Paths of our own may hold ':' or ','; overlayfs wants them escaped (Documentation/filesystems/overlayfs.rst).
    upper, work = (rootfs[k].replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,") for k in ("upper", "work"))
    data = f"lowerdir={lower},upperdir={upper},workdir={work},{rootfs['features']}"
    if len(data) > os.sysconf("SC_PAGE_SIZE") - 1:
        detail = f"the image has too many layers ({len(rootfs['layers'])})"
        raise OperationFailed("mount", rootfs["root"], detail=detail)
    return data


def _devices(bundle: Bundle, entry: Entry, ids: Ids) -> int:
    """/dev with its nodes, for a container that may not make them: for that it takes the host's root."""
    tree = detached.filesystem("tmpfs", "tmpfs", entry["data"] or "", entry["flags"])
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
    os.fchown(folder, *ids.owner(0, 0))
    root = os.open(bundle["rootfs"]["root"], flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    devices.populate(folder, root, bundle["devices"], ids)
    os.close(root)
    return tree


def _pivot(root: int) -> None:
    """pivot_root(2) onto itself and detach the old root, which then lies on top."""
    os.fchdir(root)
    calls.pivot_root(".", ".")
    calls.umount(".")
    os.chdir("/")
