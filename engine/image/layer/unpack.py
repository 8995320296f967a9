"""Extracts a tar stream into a directory: a layer in the form that overlayfs stacks, or an archive as `ADD` extracts it.

Hostile archives are expected. Each name is resolved inside the root on descriptors (engine.image.tree), the last component is
never followed, and files are created with O_EXCL, so neither symbolic nor hard links lead out. Ownership is set before the mode
and the attributes, because chown(2) removes setuid bits and capabilities.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator

from engine.errors import Corrupt, InvalidSpec, OperationFailed
from engine.filetree import attributes
from engine.filetree.copy import CREATE
from engine.filetree.remove import remove_at
from engine.image.layer import overlay, tar
from engine.image.layer.compression import Limits
from engine.image.tree import Tree, clean
from engine.kernel import idmap

_FORMS = {
    tar.SYMLINK: stat.S_IFLNK,
    tar.FIFO: stat.S_IFIFO,
    tar.CHARACTER: stat.S_IFCHR,
    tar.BLOCK_DEVICE: stat.S_IFBLK,
}
_IDS = range((1 << 32) - 1)
_TIMES = range(-(1 << 31) * 1_000_000_000, (1 << 34) * 1_000_000_000)
"""Nanoseconds that file systems keep (ext4: 1901 to 2446); other times are replaced by the epoch."""


class Unpacked:
    """The result of an extraction: `size` in bytes of file content, the number of `entries`, whether one was for the root
    directory, and the devices that were left out."""

    __slots__ = ("entries", "has_root", "left_out", "size")

    def __init__(self) -> None:
        self.size = 0
        self.entries = 0
        self.has_root = False
        self.left_out: list[str] = []


def unpack(
    pieces: Iterator[bytes],
    root: int,
    subject: str,
    *,
    below: str = "",
    layer: bool = True,
    owner: tuple[int, int] | None = None,
    plain: bool = False,
    limits: Limits | None = None,
    rename: Callable[[str], str] | None = None,
) -> Unpacked:
    """Extract the uncompressed tar in `pieces` into the directory open as `root`, and read the stream to its end.

    With `layer`, whiteouts take overlayfs's form; without, the names mean nothing special. `below` is the place inside
    the root for everything, `owner` replaces the entries' owners, `rename` gives an entry, and a hard link's target,
    another clean name. With `plain` the copy grants no privileges: set-id bits, extended attributes and devices are
    skipped, and no directory replaces a file or the reverse. Raises Corrupt, Unsupported, OperationFailed; what was
    extracted by then stays and is the caller's to remove.
    """
    with Tree(root, subject) as tree:
        return _Unpacker(tree, subject, below, layer, owner, plain, limits or Limits(), rename).run(pieces)


class _Unpacker:
    def __init__(
        self,
        tree: Tree,
        subject: str,
        below: str,
        layer: bool,
        owner: tuple[int, int] | None,
        plain: bool,
        limits: Limits,
        rename: Callable[[str], str] | None,
    ) -> None:
        self.tree, self.subject, self.layer, self.owner, self.limits = tree, subject, layer, owner, limits
        self.rename, self.plain = rename, plain
        self.below = below.strip("/")
        self.times: dict[str, int] = {}
        self.implied: set[int] = set()
        """Inode numbers of directories without an entry, which only hold others."""
        self.names = 0
        self.done = Unpacked()

    def run(self, pieces: Iterator[bytes]) -> Unpacked:
        archive = tar.Archive(pieces, self.subject)
        for entry in archive:
            self.done.entries += 1
            if self.done.entries > self.limits.max_entries:
                raise Corrupt(f"{self.subject}: more than {self.limits.max_entries} entries")
            path = clean(entry.name)
            if path is None:
                raise Corrupt(f"{self.subject}: the entry {entry.name!r} points outside the root")
            if self.rename:
                path = self.rename(path)
            if entry.mtime not in _TIMES:
                entry.mtime = 0
            if self.plain:
                entry.mode &= 0o1777
                entry.xattrs = {}
            if self.owner:
                entry.uid, entry.gid = self.owner
            elif entry.uid not in _IDS or entry.gid not in _IDS:
                raise Corrupt(f"{self.subject}: the owner {entry.uid}:{entry.gid} of {entry.name!r} is out of range")
            try:
                self.one(archive, entry, f"{self.below}/{path}".strip("/") if self.below else path)
            except (OverflowError, ValueError) as error:
                raise Corrupt(f"{self.subject}: {entry.name!r} has a number out of range or a NUL in a name") from error
            except OSError as error:
                raise OperationFailed.of("extract", f"{entry.name!r} of {self.subject}", error) from error
        # Writing into a directory changes its time, so times of directories are set last.
        for path, mtime in self.times.items():
            self.touch(path, mtime)
        return self.done

    def one(self, archive: tar.Archive, entry: tar.Entry, path: str) -> None:
        if path == self.below:
            if entry.type == tar.DIRECTORY:
                self.directory_itself(entry, path)
            return
        if self.layer and overlay.RESERVED in path and not path.endswith(overlay.OPAQUE):
            return  # aufs kept its own files under these names; other programs ignore them
        whiteout = self.layer and path.rpartition("/")[2].startswith(overlay.WHITEOUT)
        try:
            parent, name = self.tree.parent(path, self.made)
        except OperationFailed as error:
            if not self.layer or error.errno != errno.ENOTDIR:
                raise
            if whiteout:
                return  # the directory itself is hidden or replaced in this layer (github.com/opencontainers/umoci #254)
            self.uncover(path)
            parent, name = self.tree.parent(path, self.made)
        if whiteout:
            self.whiteout(parent, name, path)
            return
        kind = entry.type
        if kind == tar.REGULAR:
            self.regular(archive, entry, parent, name)
        elif kind == tar.DIRECTORY:
            self.directory(entry, parent, name, path)
        else:
            self.special(entry, parent, name)

    def regular(self, archive: tar.Archive, entry: tar.Entry, parent: int, name: str) -> None:
        try:
            fd = os.open(name, CREATE, 0o600, dir_fd=parent)
        except FileExistsError:
            self.clear(parent, name)
            fd = os.open(name, CREATE, 0o600, dir_fd=parent)
        try:
            if entry.sparse is None:
                for piece in archive.content():
                    _write(fd, piece)
                self.done.size += entry.size
            else:
                self.sparse(archive, entry, fd)
            self.attributes(fd, entry)
        finally:
            os.close(fd)

    def sparse(self, archive: tar.Archive, entry: tar.Entry, fd: int) -> None:
        content = archive.content()
        piece = memoryview(b"")
        for offset, length in entry.sparse or ():
            if offset + length > entry.real_size:
                raise Corrupt(f"{self.subject}: the sparse map of {entry.name!r} goes beyond its size")
            os.lseek(fd, offset, os.SEEK_SET)
            while length:
                piece = piece or next(content, memoryview(b""))
                if not piece:
                    raise Corrupt(f"{self.subject}: {entry.name!r} has less data than its sparse map says")
                _write(fd, piece[:length])
                self.done.size += len(piece[:length])
                length, piece = length - len(piece[:length]), piece[length:]
        os.ftruncate(fd, entry.real_size)

    def attributes(self, file: int | str, entry: tar.Entry) -> None:
        attributes.apply(
            file,
            owner=(entry.uid, entry.gid),
            mode=None if entry.type == tar.SYMLINK else entry.mode,
            xattrs=entry.xattrs,
            mtime=entry.mtime,
        )

    def directory(self, entry: tar.Entry, parent: int, name: str, path: str) -> None:
        hidden = False
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                # ADD into an existing tree: a link to a directory stands for it, as with tar --keep-directory-symlink.
                if not self.layer and stat.S_ISLNK(status.st_mode) and self.leads_to_directory(path):
                    return
                if self.plain:
                    raise InvalidSpec(f"cannot copy directory: {path} is a file") from None
                hidden = self.layer and overlay.is_whiteout(status)
                self.clear(parent, name)
                os.mkdir(name, 0o700, dir_fd=parent)
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if self.implied:
                self.implied.discard(os.fstat(fd).st_ino)
            self.attributes(fd, entry)
        finally:
            os.close(fd)
        if hidden:
            overlay.make_opaque(parent, name)
        self.times[path] = entry.mtime
        self.names += len(path)
        if self.names > self.limits.max_names:
            raise Corrupt(
                f"{self.subject}: the paths of its directories are longer than {self.limits.max_names} in all"
            )

    def leads_to_directory(self, path: str) -> bool:
        try:
            os.close(self.tree.open(path, os.O_PATH | os.O_DIRECTORY))
        except OSError:
            return False
        return True

    def directory_itself(self, entry: tar.Entry, path: str) -> None:
        """Handle the entry "./": the root of the layer, or the directory to which an archive is added."""
        if not self.layer:
            return
        self.done.has_root = True
        self.attributes(self.tree.root, entry)
        self.times[path] = entry.mtime

    def special(self, entry: tar.Entry, parent: int, name: str) -> None:
        is_device = entry.type in (tar.CHARACTER, tar.BLOCK_DEVICE)
        if is_device and (self.plain or not idmap.initial()):
            # A user namespace cannot create devices; Docker skips them there as well, and /dev is mounted anyway.
            self.done.left_out.append(entry.name)
            with contextlib.suppress(FileNotFoundError):
                self.clear(parent, name)
            return
        try:
            self.make(entry, parent, name)
        except FileExistsError:
            self.clear(parent, name)
            self.make(entry, parent, name)
        if entry.type == tar.HARDLINK:
            return
        # In a running container's tree, another file may have the name by now.
        with attributes.path_of_entry(parent, name, _FORMS[entry.type]) as file:
            self.attributes(file, entry)

    def make(self, entry: tar.Entry, parent: int, name: str) -> None:
        kind = entry.type
        if kind == tar.SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent)
        elif kind == tar.HARDLINK:
            self.hardlink(entry, parent, name)
        elif kind == tar.FIFO:
            os.mkfifo(name, 0o600, dir_fd=parent)
        else:
            os.mknod(name, _FORMS[kind] | 0o600, os.makedev(entry.major, entry.minor), dir_fd=parent)

    def hardlink(self, entry: tar.Entry, parent: int, name: str) -> None:
        target = clean(entry.link)
        if not target:
            raise Corrupt(f"{self.subject}: the hard link {entry.name!r} to {entry.link!r} points outside the root")
        if self.rename:
            target = self.rename(target)
        target = f"{self.below}/{target}" if self.below else target
        try:
            above, last = self.tree.parent(target)
            if (above, last) == (parent, name):
                return
            os.link(last, name, src_dir_fd=above, dst_dir_fd=parent, follow_symlinks=False)
        except (FileNotFoundError, OperationFailed) as error:
            raise Corrupt(
                f"{self.subject}: the hard link {entry.name!r} leads to {entry.link!r}, which is not in the archive"
            ) from error

    def whiteout(self, parent: int, name: str, path: str) -> None:
        if name == overlay.OPAQUE:
            overlay.make_opaque(parent, ".")
            return
        hidden = name[len(overlay.WHITEOUT) :]
        if not hidden or hidden in (".", ".."):
            raise Corrupt(f"{self.subject}: the whiteout {path!r} names nothing")
        try:
            overlay.make_whiteout(parent, hidden)
        except FileExistsError:
            status = os.stat(hidden, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self.hide(parent, hidden)

    def hide(self, parent: int, name: str) -> None:
        """Hide what the layers below have in a directory of this layer, whose own files stay (layer.md, "Whiteouts"); all of
        it if this layer has nothing but whiteouts there."""
        inode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_ino
        if inode in self.implied and overlay.has_only_whiteouts(parent, name, self.implied):
            self.clear(parent, name)
            overlay.make_whiteout(parent, name)
        else:
            overlay.make_opaque(parent, name)
        self.implied.discard(inode)

    def uncover(self, path: str) -> None:
        """Put a directory in the place of a whiteout on the way to `path`: the whiteout came before this layer's own
        files."""
        names = path.split("/")[:-1]
        for number in range(1, len(names) + 1):
            parent, name = self.tree.parent("/".join(names[:number]))
            try:
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                return
            if overlay.is_whiteout(status):
                self.clear(parent, name)
                os.mkdir(name, 0o700, dir_fd=parent)
                self.made(parent, name)
                overlay.make_opaque(parent, name)
                return

    def clear(self, parent: int, name: str) -> None:
        """Remove what an entry replaces. Cached descriptors of a removed directory must not be used again."""
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        if self.plain and stat.S_ISDIR(mode):
            raise InvalidSpec(f"cannot copy file: {name} is a directory")
        remove_at(parent, name)
        if not stat.S_ISREG(mode):
            self.tree.forget(keep=parent)

    def made(self, parent: int, name: str) -> None:
        """Create a directory that has no entry: owned by root, mode 0755 regardless of the umask."""
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.fchown(fd, *(self.owner or (0, 0)))
            os.fchmod(fd, 0o755)
            if self.layer:
                self.implied.add(os.fstat(fd).st_ino)
        finally:
            os.close(fd)

    def touch(self, path: str, mtime: int) -> None:
        try:
            parent, name = self.tree.parent(path)
            fd = os.open(name or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except (OSError, OperationFailed):
            return  # replaced by a later entry
        try:
            attributes.set_time(fd, mtime)
        finally:
            os.close(fd)


def _write(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]
