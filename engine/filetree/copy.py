"""A copy of a directory tree: types, owners, modes, times, extended attributes and hard links as in the original."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from engine.filetree import attributes
from engine.filetree.descent import Descent
from engine.filetree.long_path import open_below
from engine.filetree.regular import open_regular
from engine.kernel import idmap
from engine.poll import write_all

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 30
_SMALL = 1 << 16
"""Up to this size in bytes, reading and writing is faster than copying in the kernel."""


def copy_tree(source: int, target: int) -> None:
    """Copy what is in the directory `source` into the empty directory `target`, and the directory's own attributes.

    Sockets are skipped, and devices if a user namespace cannot create them. Raises OSError.
    """
    _Copy(target).run(source)


class _Copy:
    def __init__(self, target: int) -> None:
        self.target = target
        self.links: dict[tuple[int, int], tuple[str, tuple[int, int]]] = {}
        """For each file with several names, the place and identity of its copy."""

    def run(self, source: int) -> None:
        with Descent(source) as reading, Descent(self.target) as writing:
            levels: list[Iterator[str]] = [iter(os.listdir(source))]
            path: list[str] = []
            while levels:
                name = next(levels[-1], None)
                if name is None:
                    # A directory's time is set last, because writing into it changes it.
                    attributes.copy(reading.fd, writing.fd)
                    levels.pop()
                    if path:
                        path.pop()
                        reading.leave()
                        writing.leave()
                    continue
                status = os.stat(name, dir_fd=reading.fd, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    os.mkdir(name, 0o700, dir_fd=writing.fd)
                    levels.append(iter(os.listdir(reading.enter(name))))
                    writing.enter(name)
                    path.append(name)
                else:
                    self.entry(reading.fd, writing.fd, name, status, path)

    def entry(self, source: int, target: int, name: str, status: os.stat_result, path: list[str]) -> None:
        if status.st_nlink > 1 and self.linked(target, name, status):
            return
        mode = status.st_mode
        if stat.S_ISREG(mode):
            self.file(source, target, name)
        elif not self.special(source, target, name, status):
            return
        if status.st_nlink > 1:
            made = os.stat(name, dir_fd=target, follow_symlinks=False)
            self.links[(status.st_dev, status.st_ino)] = ("/".join((*path, name)), (made.st_dev, made.st_ino))

    def linked(self, target: int, name: str, status: os.stat_result) -> bool:
        """Whether the file was already copied under another name; if so, a link to that copy is created."""
        first = self.links.get((status.st_dev, status.st_ino))
        if first is None:
            return False
        fd = open_below(self.target, first[0], os.O_PATH | os.O_NOFOLLOW)
        try:
            there = os.fstat(fd)
            if (there.st_dev, there.st_ino) != first[1]:
                raise OSError(errno.ESTALE, "a copied file was replaced", first[0])
            os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=target, follow_symlinks=True)
        finally:
            os.close(fd)
        return True

    def file(self, source: int, target: int, name: str) -> None:
        reading = open_regular(source, name)
        try:
            writing = os.open(name, CREATE, 0o600, dir_fd=target)
            try:
                copy_content(reading, writing)
                attributes.copy(reading, writing)
            finally:
                os.close(writing)
        finally:
            os.close(reading)

    def special(self, source: int, target: int, name: str, status: os.stat_result) -> bool:
        """Copy a link, FIFO or device; False if it cannot be copied."""
        mode, device = status.st_mode, status.st_rdev
        is_device = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif stat.S_ISSOCK(mode) or (is_device and (device == 0 or not idmap.initial())):
            return False  # a socket is useless without its listener; device 0:0 is a whiteout with nothing below it
        else:
            os.mknod(name, stat.S_IFMT(mode) | 0o600, device, dir_fd=target)
        with attributes.path_of_entry(source, name, mode) as old, attributes.path_of_entry(target, name, mode) as new:
            attributes.apply(
                new,
                owner=(status.st_uid, status.st_gid),
                mode=None if stat.S_ISLNK(mode) else mode,
                xattrs={} if stat.S_ISLNK(mode) else attributes.xattrs(old),
                mtime=status.st_mtime_ns,
            )
        return True


def copy_content(source: int, target: int, size: int = _CHUNK) -> None:
    """Copy all bytes from the position of `source`, about `size`: large files in the kernel, with shared blocks if the
    file system supports it. Raises OSError."""
    if size <= _SMALL:
        data = os.read(source, _SMALL + 1)
        write_all(target, data)
        if len(data) <= _SMALL:  # a short read occurs only at the end of a file
            return
    try:
        while os.copy_file_range(source, target, _CHUNK):
            pass
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    while data := os.read(source, 1 << 20):
        write_all(target, data)
