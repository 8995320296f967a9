"""A directory in overlayfs's form as a layer's tar stream: the inverse of unpack, the same bytes for the same tree.

Entries are sorted by name; times are whole seconds (as in Docker's layers); overlayfs's own attributes are omitted and
its whiteouts become `.wh.` entries (OCI image specification, layer.md). Long or odd values go into pax records.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator

from engine.errors import OperationFailed, Unsupported
from engine.filetree import attributes
from engine.filetree.descent import Descent
from engine.filetree.regular import open_regular, reopened
from engine.image.layer import overlay, tar

_READ = 1 << 20
_OCTAL_7 = 0o7777777
_OCTAL_11 = 0o77777777777
_BLOCK = bytes(tar.BLOCK)
_SPECIAL = {stat.S_IFCHR: tar.CHARACTER, stat.S_IFBLK: tar.BLOCK_DEVICE, stat.S_IFIFO: tar.FIFO}

Write = Callable[[bytes], object]
Skip = Callable[[os.stat_result], bool]


def pack(root: int, write: Write, *, whiteouts: bool = True, root_entry: bool = False, live: bool = False) -> int:
    """Write the tree below the descriptor `root` as a tar stream; returns the number of bytes of file content. Raises
    OperationFailed; BrokenPipeError when `write` does.

    `root_entry` writes an entry for the root directory first. With `whiteouts` False, the tree is an ordinary one (a merged
    root), whose devices and attributes have no special meaning. With `live`, the tree may change meanwhile, as for `pack_open`.
    """
    packer = _Packer(write, whiteouts, live=live)
    try:
        if root_entry:
            packer.header("./", os.stat(root), tar.DIRECTORY)
        packer.tree(root)
    except BrokenPipeError:
        raise  # the reader of the archive is gone
    except OSError as error:
        raise OperationFailed.of("read layer at", packer.at or "/", error) from error
    write(_BLOCK * 2)
    return packer.size


def pack_open(fd: int, label: str, write: Write, *, skip: Skip | None = None) -> None:
    """Write the file or tree open as `fd` (O_PATH suffices) as a complete archive of one tree called `label`.

    The tree is an ordinary one that may change meanwhile: files that vanish are skipped, and files that become shorter
    are padded with zeros. `skip` gets the status of each directory, and returns whether to leave out its content.
    Raises OperationFailed; BrokenPipeError when `write` does.
    """
    packer = _Packer(write, False, live=True, skip=skip)
    status = os.fstat(fd)
    try:
        if stat.S_ISDIR(status.st_mode):
            child = packer.directory(fd, ".", label, status)
            try:
                packer.tree(child, f"{label}/")
            finally:
                os.close(child)
        elif stat.S_ISREG(status.st_mode):
            packer.content(reopened(os.dup(fd)), label, status)
        elif stat.S_ISLNK(status.st_mode):
            packer.header(label, status, tar.SYMLINK, link=os.readlink("", dir_fd=fd))
        elif stat.S_ISSOCK(status.st_mode):
            raise Unsupported(f"{label} is a socket, which an archive cannot contain")
        else:
            packer.header(label, status, _SPECIAL[stat.S_IFMT(status.st_mode)])
    except BrokenPipeError:
        raise  # the reader of the archive is gone
    except OSError as error:
        raise OperationFailed.of("read", packer.at or label, error) from error
    write(_BLOCK * 2)


class _Replaced(Exception):
    """A file of a live tree was replaced after it was examined. The archive omits it."""


class _Packer:
    def __init__(self, write: Write, whiteouts: bool, *, live: bool = False, skip: Skip | None = None) -> None:
        self.write, self.whiteouts, self.live, self.skip = write, whiteouts, live, skip
        self.links: dict[tuple[int, int], str] = {}
        self.size = 0
        self.at = ""

    def tree(self, root: int, prefix: str = "") -> None:
        """Depth first, entries sorted by their bytes."""
        with Descent(root) as walk:
            # For the levels above only the lengths of their paths are kept: all paths of a deep tree take much memory.
            levels: list[tuple[int, Iterator[str]]] = [(len(prefix), iter(self.names(root)))]
            while levels:
                length, names = levels[-1]
                prefix = prefix[:length]
                name = next(names, None)
                if name is None:
                    levels.pop()
                    if levels:
                        walk.leave()
                    continue
                self.at = path = prefix + name
                try:
                    child = self.one(walk.fd, name, path)
                except _Replaced:
                    continue
                if child is not None:
                    walk.adopt(child)
                    prefix = f"{path}/"
                    levels.append((len(prefix), iter(self.names(child))))

    @staticmethod
    def names(fd: int) -> list[str]:
        return sorted(os.listdir(fd), key=os.fsencode)

    def one(self, parent: int, name: str, path: str) -> int | None:
        """Write one entry; for a directory, returns its descriptor. Raises _Replaced."""
        with self.examined():
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        mode = status.st_mode
        if stat.S_ISREG(mode):
            self.regular(parent, name, path, status)
        elif stat.S_ISDIR(mode):
            child = self.directory(parent, name, path, status)
            if self.skip and self.skip(status):
                os.close(child)
                return None
            return child
        elif stat.S_ISLNK(mode):
            with self.examined():
                target = os.readlink(name, dir_fd=parent)
            if not self.linked(path, status):
                self.header(path, status, tar.SYMLINK, link=target)
        elif self.whiteouts and overlay.is_whiteout(status):
            above, _, last = path.rpartition("/")
            self.marker(f"{above}/{overlay.WHITEOUT}{last}" if above else overlay.WHITEOUT + last)
        elif kind := _SPECIAL.get(stat.S_IFMT(mode)):
            self.header(path, status, kind)
        # tar cannot represent sockets, and they are useless without their process: skipped, as by other tools.
        return None

    def linked(self, path: str, status: os.stat_result) -> bool:
        """Whether the file was already written under another name; if so, it is written as a hard link."""
        if status.st_nlink < 2:
            return False
        first = self.links.setdefault((status.st_dev, status.st_ino), path)
        if first == path:
            return False
        self.header(path, status, tar.HARDLINK, link=first)
        return True

    def regular(self, parent: int, name: str, path: str, status: os.stat_result) -> None:
        if self.linked(path, status):
            return
        try:
            fd = self.open(parent, name)
        except _Replaced:
            self.links.pop((status.st_dev, status.st_ino), None)  # another name of the file gets its content
            raise
        self.content(fd, path, os.fstat(fd) if self.live else status)

    def content(self, fd: int, path: str, status: os.stat_result) -> None:
        """Write a regular file's entry from the descriptor, which is closed."""
        try:
            self.header(path, status, tar.REGULAR, xattrs=self.xattrs(fd, path))
            left = status.st_size
            while left:
                data = os.read(fd, min(left, _READ))
                if not data and self.live:
                    data = bytes(min(left, _READ))
                if not data:
                    raise OSError(errno.ESTALE, "the file became shorter while it was read")
                self.write(data)
                left -= len(data)
            self.write(_BLOCK[: -status.st_size % tar.BLOCK])
            self.size += status.st_size
        finally:
            os.close(fd)

    def open(self, parent: int, name: str) -> int:
        """Open a regular file, but nothing that replaced it after it was examined."""
        if not self.live:
            return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        with self.examined():
            return open_regular(parent, name)

    @contextlib.contextmanager
    def examined(self) -> Iterator[None]:
        """Raises _Replaced if a file of a live tree was removed or replaced by one of another type after it was examined."""
        try:
            yield
        except OSError as error:
            if self.live and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE, errno.EINVAL):
                raise _Replaced from error
            raise

    def directory(self, parent: int, name: str, path: str, status: os.stat_result) -> int:
        with self.examined():
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            self.header(path + "/", status, tar.DIRECTORY, xattrs=self.xattrs(fd, path))
            if self.whiteouts and overlay.is_opaque(os.listxattr(fd)):
                self.marker(f"{path}/{overlay.OPAQUE}")
        except BaseException:
            os.close(fd)
            raise
        return fd

    def xattrs(self, fd: int, path: str) -> dict[str, bytes]:
        names = os.listxattr(fd)
        if not names:
            return {}
        prefix = overlay.xattr_prefix()
        if self.whiteouts and (prefix + "redirect" in names or prefix + "metacopy" in names):
            raise Unsupported(
                f"{path} was written by an overlay with redirect_dir or metacopy, which a layer cannot hold"
            )
        return {name: os.getxattr(fd, name) for name in sorted(filter(attributes.is_kept, names))}

    def marker(self, path: str) -> None:
        self.raw(path, tar.REGULAR, 0o600, 0, 0, 0, 0, "", 0, {})

    def header(
        self, path: str, status: os.stat_result, kind: bytes, *, link: str = "", xattrs: dict[str, bytes] | None = None
    ) -> None:
        size = status.st_size if kind == tar.REGULAR else 0
        device = status.st_rdev if kind in (tar.CHARACTER, tar.BLOCK_DEVICE) else 0
        mode = stat.S_IMODE(status.st_mode)
        self.raw(path, kind, mode, status.st_uid, status.st_gid, size, int(status.st_mtime), link, device, xattrs or {})

    def raw(
        self,
        path: str,
        kind: bytes,
        mode: int,
        uid: int,
        gid: int,
        size: int,
        mtime: int,
        link: str,
        device: int,
        xattrs: dict[str, bytes],
    ) -> None:
        pax: dict[str, bytes] = {f"SCHILY.xattr.{name}": value for name, value in xattrs.items()}
        name, target = os.fsencode(path), os.fsencode(link)
        if len(name) > 100 or not name.isascii():
            pax["path"] = name
        if len(target) > 100 or not target.isascii():
            pax["linkpath"] = target
        for key, number, limit in (("uid", uid, _OCTAL_7), ("gid", gid, _OCTAL_7), ("size", size, _OCTAL_11)):
            if number > limit:
                pax[key] = b"%d" % number
        if not 0 <= mtime <= _OCTAL_11:
            pax["mtime"] = b"%d" % mtime
        if pax:
            self.extended(pax)
        self.write(_header(name, kind, mode, uid, gid, size, mtime, target, device))

    def extended(self, pax: dict[str, bytes]) -> None:
        data = b"".join(_record(key.encode(), value) for key, value in sorted(pax.items()))
        self.write(_header(b"PaxHeaders/entry", b"x", 0o644, 0, 0, len(data), 0, b"", 0))
        self.write(data + _BLOCK[: -len(data) % tar.BLOCK])


def _header(
    name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, mtime: int, link: bytes, device: int
) -> bytes:
    """One ustar header; numbers that do not fit are 0 and stand in a pax record before it."""
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        mode,
        uid if uid <= _OCTAL_7 else 0,
        gid if gid <= _OCTAL_7 else 0,
        size if size <= _OCTAL_11 else 0,
        mtime if 0 <= mtime <= _OCTAL_11 else 0,
    )
    head = name[:100].ljust(100, b"\0") + numbers
    devices = b"%07o\0%07o\0" % (os.major(device), os.minor(device))
    tail = kind + link[:100].ljust(100, b"\0") + b"ustar\x0000" + bytes(64) + devices + bytes(167)
    checksum = sum(head) + sum(tail) + 256
    return head + b"%06o\0 " % checksum + tail


def _record(key: bytes, value: bytes) -> bytes:
    """`length key=value\\n`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if rest + len(str(length)) != length:
        length += 1
    return b"%d %b=%b\n" % (length, key, value)
