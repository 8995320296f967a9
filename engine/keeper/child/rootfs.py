"""The container's file system tree: overlay, mounts, devices, pivot_root; all inside our private mount namespace."""

from __future__ import annotations

import os

from engine.errors import OperationFailed
from engine.keeper.child import devices, mounts, privileges
from engine.keeper.child.direct import Direct
from engine.keeper.child.namespaces import Ids
from engine.kernel import calls, detached_mounts, flags

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from engine.keeper.bundle import Bundle, Entry, RootFs
    from engine.keeper.child.kernel import Kernel
    from engine.keeper.child.progress import Progress


def prepare(kernel: Kernel, progress: Progress) -> None:
    """Create the mounts that need the host's privileges, in our private mount namespace, before entering a user
    namespace."""
    bundle, ids, found = progress.bundle, progress.ids, progress.trees
    rootfs, entries = bundle["rootfs"], bundle["mounts"]
    privileges.preload(bundle["process"].get("seccomp", ""))
    # Clone binds while our mounts are still peers of the host's, because some are to be shared with the host.
    for number, entry in enumerate(entries):
        if entry["type"] == "bind":
            found[number] = mounts.source(kernel, entry, ids)
    # Slave, so that none of our mounts propagates to the host.
    kernel.mount(None, "/", None, flags.MS["rec"] | flags.MS["slave"])
    for folder in dict.fromkeys((rootfs["upper"], rootfs["work"], rootfs["root"])):
        kernel.mkdir(folder, present=True)
    if ids.namespace >= 0:
        _shift_all(rootfs, ids)
    overlay(kernel, rootfs)
    for number, entry in enumerate(entries):
        if entry["type"] == "image":
            found[number] = mounts.source(kernel, entry, ids)
        elif ids.namespace >= 0 and devices.is_place(entry):
            found[number] = _devices(bundle, entry, ids)
    bits = flags.OPEN_TREE_CLONE if ids.namespace >= 0 else 0
    progress.root = kernel.open_tree(flags.AT_FDCWD, rootfs["root"], bits)
    # Last, because their folder may be the one that all others are in.
    found |= mounts.files(kernel, entries, bundle["run_folder"], ids)


def assemble(kernel: Kernel, progress: Progress) -> None:
    """Attach the mounts."""
    root = progress.root
    if progress.ids.namespace >= 0:
        # A user namespace may not be able to reach the folder; there, "/" serves as the mount point.
        above = os.open("/", flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        calls.move_mount(root, above)
        os.close(above)
    for number, entry in enumerate(progress.bundle["mounts"]):
        tree = progress.trees.get(number, -1)
        mounts.attach(kernel, root, entry, tree)
        if tree < 0 and devices.is_place(entry):
            folder = kernel.open_within(root, "/dev", os.O_RDONLY | os.O_DIRECTORY, flags.RESOLVE_IN_ROOT)
            devices.populate(kernel, folder, root, progress.bundle["devices"], Ids())


def enter(kernel: Kernel, progress: Progress) -> None:
    """pivot_root(2) onto itself and detach the old root, which is on top afterwards."""
    kernel.fchdir(progress.root)
    kernel.pivot_root(".", ".")
    kernel.umount(".")
    kernel.chdir("/")
    kernel.close(progress.root)


def make_working_directory(kernel: Kernel, progress: Progress) -> None:
    """Create the working directory before the root may become read-only. Errors are reported when the process changes
    to it."""
    parts = [part for part in progress.bundle["process"]["cwd"].split("/") if part]
    for end in range(1, len(parts) + 1):
        kernel.try_mkdir("/" + "/".join(parts[:end]))


def overlay(kernel: Kernel, rootfs: RootFs) -> None:
    """Mount overlayfs with lower directories relative to the layers' folder, so that many fit into the one page of
    mount(2)."""
    kernel.chdir(rootfs["layers_folder"])
    kernel.mount("overlay", rootfs["root"], "overlay", 0, _options(rootfs))
    kernel.chdir("/")


def _options(rootfs: RootFs) -> str:
    """The options of overlayfs, for a process in the layers' directory. Raises OperationFailed when they are too long."""
    lower = ":".join(reversed(rootfs["layers"]))
    # Our paths may contain ':' or ',', which must be escaped (Documentation/filesystems/overlayfs.rst).
    upper, work = (rootfs[k].replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,") for k in ("upper", "work"))
    data = f"lowerdir={lower},upperdir={upper},workdir={work},{rootfs['features']}"
    if len(data) > os.sysconf("SC_PAGE_SIZE") - 1:
        detail = f"the image has too many layers ({len(rootfs['layers'])})"
        raise OperationFailed("mount", rootfs["root"], detail=detail)
    return data


def _shift_all(rootfs: RootFs, ids: Ids) -> None:
    """Map the ids of overlayfs's directories to the user namespace."""
    for folder in dict.fromkeys((rootfs["layers_folder"], *map(os.path.dirname, (rootfs["upper"], rootfs["root"])))):
        _shift(folder, ids)
    # The work folder, which overlayfs itself creates, must belong to a user in the mounts' maps.
    calls.set_filesystem_owner(*ids.owner(0, 0))


def _shift(folder: str, ids: Ids) -> None:
    """Bind-mount the folder onto itself with mapped ids; only our mount namespace sees it."""
    covering: Entry = {"type": "bind", "target": folder, "recursive": False, "idmap": "required"}
    tree = mounts.bind_tree(Direct(), flags.AT_FDCWD, folder, covering, ids)
    target = os.open(folder, flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        calls.move_mount(tree, target)
    finally:
        os.close(tree)
        os.close(target)


def _devices(bundle: Bundle, entry: Entry, ids: Ids) -> int:
    """/dev with its nodes, for a container in a user namespace: creating nodes needs the host's root."""
    tree = detached_mounts.filesystem("tmpfs", "tmpfs", entry["data"] or "", entry["flags"])
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
    os.fchown(folder, *ids.owner(0, 0))
    root = os.open(bundle["rootfs"]["root"], flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    devices.populate(Direct(), folder, root, bundle["devices"], ids)
    os.close(root)
    return tree
