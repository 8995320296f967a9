"""How overlayfs writes deletions down (kernel documentation, filesystems/overlayfs.rst, "whiteouts and opaque
directories").

deleted name          a character device 0:0 of that name
replaced directory    the extended attribute <prefix>opaque = y; nothing of the lower directory shows through
"""

from __future__ import annotations

import functools
import os
import stat

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
RESERVED = ".wh..wh."


@functools.cache
def xattr_prefix() -> str:
    """`trusted.overlay.` for the real root, `user.overlay.` in a user namespace (mount option userxattr)."""
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            whole = file.read().split() == ["0", "0", "4294967295"]
    except OSError:
        whole = True
    return "trusted.overlay." if whole and os.geteuid() == 0 else "user.overlay."


def is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def make_whiteout(parent: int, name: str) -> None:
    os.mknod(name, stat.S_IFCHR | 0o600, os.makedev(0, 0), dir_fd=parent)


def make_opaque(directory: int) -> None:
    """Mark the directory open as `directory`, which must not be an O_PATH descriptor."""
    os.setxattr(directory, xattr_prefix() + "opaque", b"y")


def is_opaque(names: list[str]) -> bool:
    """Whether a directory's attribute names say opaque; those that are written are always y."""
    return xattr_prefix() + "opaque" in names
