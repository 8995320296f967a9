"""Copying the files of COPY and ADD into an image's root, by descriptors only (engine.image.tree)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping

from msgspec import Struct

from engine.build.context import Item, Match, SourceTree
from engine.build.mode import Mode
from engine.build.new_directory import NewDirectory
from engine.errors import BuildFailed, OperationFailed
from engine.filetree import attributes
from engine.filetree.copy import CREATE, copy_content
from engine.filetree.descent import DIRECTORY, Descent
from engine.filetree.remove import remove_at
from engine.image.tree import Tree
from engine.poll import write_all

_LINKS = 40


class How(Struct, frozen=True):
    """`owner` (uid, gid) for everything, None to keep the sources'; `mode` from --chmod."""

    owner: tuple[int, int] | None = None
    mode: Mode | None = None


class Target:
    """A place in the root of the image under construction; `path` is absolute, a trailing slash says it is a
    directory. A symbolic link there stands for what it leads to."""

    def __init__(self, root: Tree, path: str, how: How) -> None:
        self.root, self.how = root, how
        self.wants_directory = path.endswith(("/", "/."))
        self.path = self._resolved(path.removesuffix("/.").strip("/"))
        self._times: list[tuple[str, int]] = []
        """Of the directories of a tree, parents first: relative path, nanoseconds."""
        self._linked: dict[tuple[int, int], str] = {}
        self._fresh = NewDirectory(root)

    def copy(self, source: SourceTree, match: Match) -> None:
        """Raises BuildFailed when a file and a directory meet, OperationFailed."""
        self._linked.clear()
        if match.is_directory:
            with self._fresh:
                self._tree(source, match)
        else:
            self._entry(source, match.items[0], self._place(match.name.rpartition("/")[2]))

    def write(self, name: str, content: bytes, mode: int) -> None:
        """Write a file with generated content: a here-document. Its name cannot leave the destination."""
        self._file(self._place(os.path.normpath(f"/{name}").lstrip("/")), mode, lambda fd: write_all(fd, content), None)

    def adopt(self, name: str, source: int, mode: int, mtime: float) -> None:
        """Write a file from the open descriptor `source`, such as a download."""
        self._file(self._place(name), mode, lambda fd: copy_content(source, fd), int(mtime * 1e9))

    def directory(self) -> None:
        """Make the destination itself a directory."""
        self.root.directory(self.path, self._made)

    def _place(self, name: str) -> str:
        """Where a file called `name` goes: into a directory, or to the destination itself."""
        if self.wants_directory:
            self.directory()
        elif not self._is_directory(self.path):
            return self.path
        return f"{self.path}/{name}".strip("/")

    def _resolved(self, path: str) -> str:
        """The path after following a link at its end inside the image; it need not exist."""
        for _ in range(_LINKS):
            status = self.root.lstat(path)
            if status is None or not stat.S_ISLNK(status.st_mode):
                return path
            parent, name = self.root.parent(path)
            target = os.readlink(name, dir_fd=parent)
            path = (target if target.startswith("/") else f"{path.rpartition('/')[0]}/{target}").strip("/")
        raise BuildFailed(f"too many symbolic links at /{path}")

    def _is_directory(self, path: str) -> bool:
        try:
            os.close(self.root.open(path, os.O_PATH | os.O_DIRECTORY))
        except OSError:
            return False
        return True

    def _tree(self, source: SourceTree, match: Match) -> None:
        """A directory's content into the destination, which keeps its own owner and mode, and if it is new has those
        that every new directory has."""
        new = self.root.lstat(self.path) is None
        if not new and not self._is_directory(self.path):
            raise BuildFailed(f"cannot copy the directory {match.name} onto /{self.path}, which is not a directory")
        self.directory()
        if new:
            self._fresh.begin(self.path)
        self._times = []
        for item in match.items[1:]:
            place = f"{self.path}/{item.relative}".strip("/")
            if stat.S_ISDIR(item.status.st_mode):
                self._make_directory(source, item, place)
            else:
                self._entry(source, item, place)
        folder = self.root.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _set_times(folder, self._times)
            # The context's root is not one of its files: its time is ignored.
            if match.name or source.owned:
                attributes.set_time(folder, match.items[0].status.st_mtime_ns)
        finally:
            os.close(folder)

    def _make_directory(self, source: SourceTree, item: Item, path: str) -> None:
        """A directory below the destination gets the source's owner, mode and time, even if it is not new. One that is
        created only for its content keeps its own owner and time."""
        parent, name = self._fresh.below(path) or self.root.parent(path, self._made)
        new = True
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            new = False
        try:
            fd = os.open(name, DIRECTORY, dir_fd=parent)
        except NotADirectoryError:
            raise BuildFailed(f"cannot copy the directory {item.path} onto /{path}, which is not a directory") from None
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise BuildFailed(f"cannot copy the directory {item.path} onto /{path}, which is a link") from None
        try:
            if new or not item.implied:
                self._attributes(fd, source, item, xattrs=self._folder_xattrs(source, item))
            else:
                os.fchmod(fd, stat.S_IMODE(item.status.st_mode))
        finally:
            os.close(fd)
        if new:
            self._fresh.begin(path)
        if not item.implied:
            self._times.append((item.relative, item.status.st_mtime_ns))

    def _entry(self, source: SourceTree, item: Item, path: str) -> None:
        mode = item.status.st_mode
        if stat.S_ISREG(mode):
            if item.status.st_nlink > 1 and self._link(item, path):
                return
            fd = source.open(item)
            try:
                self._file(
                    path,
                    mode,
                    lambda out: copy_content(fd, out, item.status.st_size),
                    item.status.st_mtime_ns,
                    (source, item, fd),
                )
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

    def _link(self, item: Item, path: str) -> bool:
        """Make `path` a hard link to the copy of another name of the same file, if there is one."""
        identity = (item.status.st_dev, item.status.st_ino)
        first = self._linked.setdefault(identity, path)
        if first == path:
            return False
        parent, name = self._clear(path)
        other, existing = self.root.parent(first)
        try:
            os.link(existing, name, src_dir_fd=other, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            raise OperationFailed.of("link", f"/{path}", error) from error
        return True

    def _special(self, path: str, item: Item, source: SourceTree, make: Callable[[str, int], None]) -> None:
        parent, name = self._clear(path)
        try:
            make(name, parent)
            with attributes.path_of_entry(parent, name, item.status.st_mode) as file:
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
        parent, name = self._fresh.below(path) or self._clear(path)
        try:
            fd = os.open(name, CREATE, 0o600, dir_fd=parent)
            try:
                fill(fd)
                if origin:
                    xattrs = attributes.xattrs(origin[2]) if origin[0].owned else {}
                    self._attributes(fd, origin[0], origin[1], xattrs=xattrs, mtime=mtime)
                else:
                    owner = self.how.owner or (0, 0)
                    attributes.apply(fd, owner=owner, mode=self._mode(mode), xattrs={}, mtime=mtime)
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

    def _mode(self, mode: int) -> int:
        return self.how.mode.of(mode) if self.how.mode else stat.S_IMODE(mode)

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
            mode=None if stat.S_ISLNK(mode) else self._mode(mode),
            xattrs=xattrs or {},
            mtime=mtime,
        )

    @staticmethod
    def _folder_xattrs(source: SourceTree, item: Item) -> Mapping[str, bytes]:
        """The extended attributes of a directory; a context's files have none, as with BuildKit."""
        if not source.owned:
            return {}
        fd = source.tree.open(item.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return attributes.xattrs(fd)
        finally:
            os.close(fd)

    def _made(self, parent: int, name: str) -> None:
        """A directory on the way: the owner and the octal mode that were asked for, the latter under the usual umask of
        022, else root and 0755."""
        fd = os.open(name, DIRECTORY, dir_fd=parent)
        try:
            os.fchown(fd, *(self.how.owner or (0, 0)))
            os.fchmod(fd, self.how.mode.of(stat.S_IFDIR) & 0o755 if self.how.mode and self.how.mode.octal else 0o755)
        finally:
            os.close(fd)


def _set_times(folder: int, times: list[tuple[str, int]]) -> None:
    """Set the times of directories below `folder` from the bottom up, because creating or removing an entry changes those of
    its directory."""
    with Descent(folder) as walk:
        above: list[tuple[str, int | None]] = []

        def leave() -> None:
            mtime = above.pop()[1]
            if mtime is not None:
                attributes.set_time(walk.fd, mtime)
            walk.leave()

        for path, mtime in times:
            while above and not path.startswith(f"{above[-1][0]}/"):
                leave()
            top = f"{above[-1][0]}/" if above else ""
            *between, name = path[len(top) :].split("/")
            for one in between:  # it came only for what is below it, and keeps its time
                walk.enter(one)
                above.append((f"{top}{one}", None))
                top = f"{top}{one}/"
            walk.enter(name)
            above.append((path, mtime))
        while above:
            leave()
