"""Writing what COPY and ADD copy into an image's root, by descriptors alone (engine.image.tree)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from engine.build.context import Item, Match, SourceTree
from engine.build.mode import Mode
from engine.errors import BuildFailed, OperationFailed
from engine.filetree import attributes
from engine.filetree.copy import copy_content
from engine.filetree.remove import remove_at
from engine.image.tree import Tree

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class How(Struct, frozen=True):
    """`owner` (uid, gid) for everything, None to keep the sources'; `mode` from --chmod; `parents` keeps source
    folders.
    """

    owner: tuple[int, int] | None = None
    mode: Mode | None = None
    parents: bool = False


class Target:
    """The root of the image under construction; `path` is absolute, a trailing slash says it is a directory."""

    def __init__(self, root: Tree, path: str, how: How) -> None:
        self.root, self.how = root, how
        self.path = path.strip("/")
        self.wants_directory = path.endswith("/") or not self.path

    def copy(self, source: SourceTree, matches: Sequence[Match]) -> None:
        """Raises BuildFailed when a file and a directory meet, OperationFailed."""
        is_directory = self.wants_directory or self._is_directory(self.path)
        for match in matches:
            if self.how.parents:
                self._with_parents(source, match)
            elif match.is_directory:
                self._tree(source, match, self.path)
            else:
                name = match.name.rpartition("/")[2]
                self._entry(source, match.items[0], f"{self.path}/{name}".strip("/") if is_directory else self.path)

    def write(self, name: str, content: bytes, mode: int) -> None:
        """A file made here: a here-document, or what was downloaded."""
        into = self.wants_directory or self._is_directory(self.path)
        self._file(
            f"{self.path}/{name}".strip("/") if into else self.path, mode, lambda fd: _write_all(fd, content), None
        )

    def adopt(self, name: str, source: int, mode: int, mtime: float) -> None:
        """A file from the open descriptor `source`."""
        into = self.wants_directory or self._is_directory(self.path)
        path = f"{self.path}/{name}".strip("/") if into else self.path
        self._file(path, mode, lambda fd: copy_content(source, fd), int(mtime * 1e9) or None)

    def directory(self) -> None:
        """Make the destination itself a directory."""
        self.root.directory(self.path, self._made)

    def _is_directory(self, path: str) -> bool:
        try:
            os.close(self.root.open(path, os.O_PATH | os.O_DIRECTORY))
        except OSError:
            return False
        return True

    def _with_parents(self, source: SourceTree, match: Match) -> None:
        if match.is_directory:
            self._tree(source, match, f"{self.path}/{match.name}".strip("/"))
        else:
            self._entry(source, match.items[0], f"{self.path}/{match.name}".strip("/"))

    def _tree(self, source: SourceTree, match: Match, path: str) -> None:
        """A directory's content into `path`. An existing directory there keeps its own owner and mode."""
        times: list[tuple[str, int]] = []
        if self.root.lstat(path) is None or not self._is_directory(path):
            self.root.directory(path.rpartition("/")[0], self._made)
            self._make_directory(source, match.items[0], path, times)
        for item in match.items[1:]:
            place = f"{path}/{item.relative}".strip("/")
            if stat.S_ISDIR(item.status.st_mode):
                self._make_directory(source, item, place, times)
            else:
                self._entry(source, item, place)
        for place, mtime in reversed(times):
            fd = self.root.open(place, os.O_RDONLY | os.O_DIRECTORY)
            attributes.set_time(fd, mtime)
            os.close(fd)

    def _make_directory(self, source: SourceTree, item: Item, path: str, times: list[tuple[str, int]]) -> None:
        parent, name = self.root.parent(path, self._made)
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if self._is_directory(path):
                # A link to a directory stands for it.
                fd = self.root.open(path, os.O_RDONLY | os.O_DIRECTORY)
                self._attributes(fd, source, item)
                os.close(fd)
                return
            raise BuildFailed(f"cannot copy the directory {item.path} onto /{path}, which is not a directory") from None
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            self._attributes(fd, source, item)
        finally:
            os.close(fd)
        times.append((path, item.status.st_mtime_ns))

    def _entry(self, source: SourceTree, item: Item, path: str) -> None:
        mode = item.status.st_mode
        if stat.S_ISREG(mode):
            fd = source.open(item)
            try:
                self._file(path, mode, lambda out: copy_content(fd, out), item.status.st_mtime_ns, (source, item, fd))
            finally:
                os.close(fd)
        elif stat.S_ISLNK(mode):
            target = source.readlink(item)
            self._special(path, item, source, lambda name, parent: os.symlink(target, name, dir_fd=parent))
        elif stat.S_ISSOCK(mode):
            return
        else:
            device = item.status.st_rdev
            self._special(path, item, source, lambda name, parent: os.mknod(name, mode, device, dir_fd=parent))

    def _special(self, path: str, item: Item, source: SourceTree, make: Callable[[str, int], None]) -> None:
        parent, name = self._clear(path)
        try:
            make(name, parent)
            with attributes.held(parent, name, item.status.st_mode) as file:
                self._attributes(file, source, item, mtime=item.status.st_mtime_ns)
        except OSError as error:
            raise OperationFailed.of("copy to", f"/{path}", error) from error

    def _file(
        self,
        path: str,
        mode: int,
        fill: Callable[[int], None],
        mtime: int | None,
        origin: tuple[SourceTree, Item, int] | None = None,
    ) -> None:
        parent, name = self._clear(path)
        try:
            fd = os.open(name, _CREATE, 0o600, dir_fd=parent)
            try:
                fill(fd)
                if origin:
                    self._attributes(fd, origin[0], origin[1], xattrs=attributes.xattrs(origin[2]))
                else:
                    os.fchown(fd, *(self.how.owner or (0, 0)))
                    os.fchmod(fd, self.how.mode.of(mode) if self.how.mode else stat.S_IMODE(mode))
                if mtime is not None:
                    attributes.set_time(fd, mtime)
            finally:
                os.close(fd)
        except OSError as error:
            raise OperationFailed.of("copy to", f"/{path}", error) from error

    def _clear(self, path: str) -> tuple[int, str]:
        """Make room at `path`: a file or link there is replaced, a directory is not."""
        if not path:
            raise BuildFailed("cannot copy a file onto /")
        parent, name = self.root.parent(path, self._made)
        try:
            there = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return parent, name
        if stat.S_ISDIR(there.st_mode):
            raise BuildFailed(f"cannot copy a file onto /{path}, which is a directory")
        remove_at(parent, name)
        return parent, name

    def _owner(self, source: SourceTree, item: Item) -> tuple[int, int]:
        if self.how.owner:
            return self.how.owner
        return (item.status.st_uid, item.status.st_gid) if source.owned else (0, 0)

    def _attributes(
        self,
        file: int | str,
        source: SourceTree,
        item: Item,
        *,
        xattrs: Mapping[str, bytes] | None = None,
        mtime: int | None = None,
    ) -> None:
        mode = item.status.st_mode
        attributes.apply(
            file,
            owner=self._owner(source, item),
            mode=None if stat.S_ISLNK(mode) else self.how.mode.of(mode) if self.how.mode else mode,
            xattrs=xattrs or {},
            mtime=mtime,
        )

    def _made(self, parent: int, name: str) -> None:
        """A directory on the way: the owner that was asked for, else root, and 0755."""
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            os.fchown(fd, *(self.how.owner or (0, 0)))
            os.fchmod(fd, 0o755)
        finally:
            os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
