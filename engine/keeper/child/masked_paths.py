"""Masked and read-only paths, which the program must not see or change. We are inside the container's root. Mounts are
attached to verified descriptors, so that neither the image nor another container that shares a volume can redirect them
(CVE-2025-31133, CVE-2025-52565, CVE-2025-52881). Links are not followed: the kernel's files are never behind one, and a
skipped mask would be a hole.
"""

from __future__ import annotations

import os

from engine.errors import OperationFailed
from engine.kernel import flags

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from engine.keeper.bundle import Bundle
    from engine.keeper.child.kernel import Kernel

_COPY = flags.OPEN_TREE_CLONE | flags.AT_EMPTY_PATH


def seal(kernel: Kernel, bundle: Bundle) -> None:
    """The last changes to the tree, after sysctls are written: masked paths, read-only paths, a read-only root."""
    root = kernel.open("/", flags.O_PATH | os.O_DIRECTORY)
    _read_only(kernel, root, bundle["read_only_paths"])
    _mask(kernel, root, bundle["masked_paths"])
    kernel.close(root)
    if bundle["rootfs"]["read_only"]:
        kernel.mount(None, "/", None, flags.MS["remount"] | flags.MS["bind"] | flags.MS["ro"])


def _read_only(kernel: Kernel, root: int, paths: list[str]) -> None:
    """Make the paths that exist read-only, including mounts below them."""
    for path in paths:
        found = kernel.present(root, path)
        if found is not None:
            target, _ = found
            tree = kernel.open_tree(target, "", _COPY | flags.AT_RECURSIVE)
            kernel.mount_setattr(tree, set_bits=flags.MOUNT_ATTR["ro"], recursive=True)
            _cover(kernel, tree, target)


def _mask(kernel: Kernel, root: int, paths: list[str]) -> None:
    """Cover the paths that exist: a file by /dev/null, a directory by an empty read-only tmpfs."""
    null = empty = -1
    for path in paths:
        found = kernel.present(root, path)
        if found is None:
            continue
        target, is_folder = found
        if not is_folder:
            null = _null(kernel) if null < 0 else null
            _cover(kernel, kernel.open_tree(null, "", _COPY), target)
        elif empty < 0:
            # The first stays open and attached: later ones are copies of it.
            empty = kernel.filesystem("tmpfs", "tmpfs", "size=0k,nr_inodes=2", ("ro",))
            kernel.move_mount(empty, target)
            kernel.close(target)
        else:
            _cover(kernel, kernel.open_tree(empty, "", _COPY), target)
    for fd in (null, empty):
        if fd >= 0:
            kernel.close(fd)


def _cover(kernel: Kernel, tree: int, target: int) -> None:
    """Attach `tree` to `target`, and close both."""
    kernel.move_mount(tree, target)
    kernel.close(tree)
    kernel.close(target)


def _null(kernel: Kernel) -> int:
    """A descriptor of /dev/null, verified, because an image or a mount may have replaced it (CVE-2025-31133)."""
    try:
        null = kernel.open("/dev/null", flags.O_PATH | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        hint = "What is mounted at /dev must have the null device."
        raise OperationFailed.of("mask with", "/dev/null", error, hint=hint) from error
    kernel.demand_null(null, lambda: OperationFailed("mask with", "/dev/null", detail="it is not the null device"))
    return null
