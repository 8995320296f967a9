"""Kernel constants by their names, and back (mount(2), clone(2), openat2(2), prctl(2))."""

from __future__ import annotations

import os

CLONE = {
    "time": 0x00000080,
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
CLONE_PIDFD = 0x00001000
CLONE_FS = 0x00000200
CLONE_PARENT = 0x00008000

MS = {
    "ro": 1,
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "remount": 32,
    "noatime": 1024,
    "nodiratime": 2048,
    "bind": 4096,
    "move": 8192,
    "rec": 16384,
    "unbindable": 1 << 17,
    "private": 1 << 18,
    "slave": 1 << 19,
    "shared": 1 << 20,
    "relatime": 1 << 21,
    "strictatime": 1 << 24,
}
MNT_DETACH = 2

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

O_PATH = 0x200000

AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_FDCWD = -100
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = 0x80000
MOVE_MOUNT_F_EMPTY_PATH = 0x00000004
MOVE_MOUNT_T_EMPTY_PATH = 0x00000040
MOUNT_ATTR = {
    "ro": 0x1,
    "nosuid": 0x2,
    "nodev": 0x4,
    "noexec": 0x8,
    "noatime": 0x10,
    "strictatime": 0x20,
    "nodiratime": 0x80,
    "idmap": 0x00100000,
    "nosymfollow": 0x00200000,
}
MOUNT_ATTR_ATIME = 0x70
"""The bits that control access times; 0 is relatime."""

PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

SPLICE_F_NONBLOCK = 0x2

SCM_MAX_FD = 253
"""Descriptors of one message at most (unix(7))."""

PROC_SUPER_MAGIC = 0x9FA0
DEVPTS_SUPER_MAGIC = 0x1CD1
SYSFS_MAGIC = 0x62656572
CGROUP_SUPER_MAGIC = 0x27E0EB
CGROUP2_SUPER_MAGIC = 0x63677270


def names(value: int, table: dict[str, int]) -> str:
    """A flag word as text: 4097 → "ro|bind"."""
    known = [name for name, bit in table.items() if value & bit]
    rest = value & ~sum(table.values())
    return "|".join(known + ([hex(rest)] if rest else [])) or "0"


NULL_DEVICE = os.makedev(1, 3)
"""The device number of /dev/null (Documentation/admin-guide/devices.txt)."""
