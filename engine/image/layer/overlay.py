"""How overlayfs records deletions (kernel documentation, filesystems/overlayfs.rst, "whiteouts and opaque
directories").

deleted name          a character device 0:0 of that name
replaced directory    the extended attribute <prefix>opaque = y; nothing of the lower directory shows through
"""

from __future__ import annotations

import os
import stat
from collections.abc import Set

from engine.filetree.descent import DIRECTORY, Descent
from engine.kernel import idmap

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
RESERVED = ".wh..wh."


def xattr_prefix() -> str:
    """`trusted.overlay.` for the real root, `user.overlay.` in a user namespace (mount option userxattr)."""
    return "trusted.overlay." if idmap.initial() and os.geteuid() == 0 else "user.overlay."


def features() -> str:
    """Mount options for an upper directory that can become a layer: without features that a layer cannot represent."""
    # With userxattr the kernel refuses the options redirect_dir and metacopy, which are off anyway.
    if xattr_prefix().startswith("user."):
        return "userxattr,index=off"
    return "index=off,metacopy=off,redirect_dir=off"


def is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def make_whiteout(parent: int, name: str) -> None:
    os.mknod(name, stat.S_IFCHR | 0o600, os.makedev(0, 0), dir_fd=parent)


def make_opaque(parent: int, name: str) -> None:
    directory = os.open(name, DIRECTORY, dir_fd=parent)
    try:
        os.setxattr(directory, xattr_prefix() + "opaque", b"y")
    finally:
        os.close(directory)


def has_only_whiteouts(parent: int, name: str, implied: Set[int]) -> bool:
    """Whether the directory holds nothing but whiteouts, and directories whose inode numbers are in `implied`."""
    with Descent(parent) as walk:
        levels = [iter(os.listdir(walk.enter(name)))]
        while levels:
            found = next(levels[-1], None)
            if found is None:
                levels.pop()
                walk.leave()
                continue
            status = os.stat(found, dir_fd=walk.fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode) and status.st_ino in implied:
                levels.append(iter(os.listdir(walk.enter(found))))
            elif not is_whiteout(status):
                return False
    return True


def is_opaque(names: list[str]) -> bool:
    """Whether a directory's attribute names include the opaque marker; its value is always y."""
    return xattr_prefix() + "opaque" in names
