"""Owner, mode, extended attributes and times, set through descriptors only, because a name may refer to another file by
now.

Files that cannot be opened (links, devices, FIFOs) have an O_PATH descriptor; its entry in /proc/self/fd refers to
exactly that file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Mapping

_KEPT = ("user.", "security.capability", "system.posix_acl_")


def is_kept(name: str) -> bool:
    """Whether images, volumes and copies keep the extended attribute `name`."""
    return name.startswith(_KEPT) and not name.startswith("user.overlay.")


@contextlib.contextmanager
def path_of_entry(parent: int, name: str, kind: int) -> Iterator[str]:
    """A path to `name` in `parent` itself, which must be of the type `kind` (stat.S_IF…).

    Raises OSError with ESTALE if another file has the name by now.
    """
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if stat.S_IFMT(os.fstat(fd).st_mode) != stat.S_IFMT(kind):
            raise OSError(errno.ESTALE, "it was replaced while it was written", name)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def xattrs(file: int | str) -> dict[str, bytes]:
    """The extended attributes that are kept. Raises OSError."""
    try:
        return {name: os.getxattr(file, name) for name in os.listxattr(file) if is_kept(name)}
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return {}


def apply(
    file: int | str, *, owner: tuple[int, int], mode: int | None, xattrs: Mapping[str, bytes], mtime: int | None
) -> None:
    """Set all of them on a descriptor, or on a path from `path_of_entry`. `mode` is None for a link, `mtime` in nanoseconds.

    The order matters: chown(2) clears setuid bits and file capabilities. Attributes that the file system or our user
    namespace does not support are skipped. Raises OSError.
    """
    os.chown(file, *owner)
    if mode is not None:
        os.chmod(file, stat.S_IMODE(mode))
    for name, value in xattrs.items():
        if is_kept(name):
            try:
                os.setxattr(file, name, value)
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise
    if mtime is not None:
        set_time(file, mtime)


def copy(source: int, target: int) -> None:
    """Give the open file or directory `target` the owner, mode, attributes and times of `source`. Raises OSError."""
    status = os.fstat(source)
    owner = (status.st_uid, status.st_gid)
    apply(target, owner=owner, mode=status.st_mode, xattrs=xattrs(source), mtime=status.st_mtime_ns)


def set_time(file: int | str, mtime: int) -> None:
    """Set the times of a descriptor, or of a path from `path_of_entry`, to `mtime` in nanoseconds. Raises OSError."""
    os.utime(file, ns=(mtime, mtime))
