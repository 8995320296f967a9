"""How overlayfs records deletions (kernel documentation, filesystems/overlayfs.rst, "whiteouts and opaque
directories").

deleted name          a character device 0:0 of that name
replaced directory    the extended attribute <prefix>opaque = y; nothing of the lower directory shows through
"""

from __future__ import annotations

import os
import stat

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


def make_opaque(directory: int) -> None:
    """Mark the directory open as `directory`, which must not be an O_PATH descriptor."""
    os.setxattr(directory, xattr_prefix() + "opaque", b"y")


def is_opaque(names: list[str]) -> bool:
    """Whether a directory's attribute names include the opaque marker; its value is always y."""
    return xattr_prefix() + "opaque" in names
