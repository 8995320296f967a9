"""What the program must not see or change: masked and read-only paths. We are inside the container's root.

Mounts go onto descriptors that were looked at before, so that neither the image nor another container that shares a
volume can turn them elsewhere (CVE-2025-31133, CVE-2025-52565, CVE-2025-52881).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from engine.errors import OperationFailed
from engine.kernel import calls, detached, flags

_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def read_only(paths: Sequence[str]) -> None:
    """Make what exists of the paths read-only, with all mounted below."""
    for path in paths:
        target = _open(path)
        if target < 0:
            continue
        try:
            bits = flags.OPEN_TREE_CLONE | flags.AT_RECURSIVE | flags.AT_EMPTY_PATH
            tree = calls.open_tree(target, "", bits)
            try:
                calls.mount_setattr(tree, set_bits=flags.MOUNT_ATTR["ro"], recursive=True)
                calls.move_mount(tree, target)
            finally:
                os.close(tree)
        finally:
            os.close(target)


def mask(paths: Sequence[str]) -> None:
    """Cover what exists of the paths: a file by /dev/null, a directory by an empty read-only tmpfs."""
    null = empty = -1
    try:
        for path in paths:
            target = _open(path)
            if target < 0:
                continue
            try:
                if not stat.S_ISDIR(os.fstat(target).st_mode):
                    null = _null() if null < 0 else null
                    _cover(null, target)
                elif empty < 0:
                    # The first stays open and attached: it is what the next ones are copies of.
                    empty = detached.filesystem("tmpfs", "tmpfs", "size=0k,nr_inodes=2", ("ro",))
                    calls.move_mount(empty, target)
                else:
                    _cover(empty, target)
            finally:
                os.close(target)
    finally:
        for fd in (null, empty):
            if fd >= 0:
                os.close(fd)


def _cover(by: int, target: int) -> None:
    tree = calls.open_tree(by, "", flags.OPEN_TREE_CLONE | flags.AT_EMPTY_PATH)
    try:
        calls.move_mount(tree, target)
    finally:
        os.close(tree)


def _open(path: str) -> int:
    """The place itself, -1 when there is none. Symbolic links on the way are refused: nothing of the kernel's is behind
    one, and a skipped mask would be a hole."""
    root = os.open("/", flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return calls.openat2(root, path, flags.O_PATH, resolve=flags.RESOLVE_IN_ROOT | flags.RESOLVE_NO_SYMLINKS)
    except OperationFailed as error:
        if error.errno in _ABSENT:
            return -1
        raise
    finally:
        os.close(root)


def _null() -> int:
    """/dev/null, verified to be it: an image or a mount may have put something else there (CVE-2025-31133)."""
    null = os.open("/dev/null", flags.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(null)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
        os.close(null)
        raise OperationFailed("mask with", "/dev/null", detail="it is not the null device")
    return null
