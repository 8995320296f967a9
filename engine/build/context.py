"""Where COPY takes files from: the build context, a named context, a stage or an image; each a tree that is not
trusted.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence

from msgspec import Struct

from engine.build.digests import Digests
from engine.errors import BuildFailed, OperationFailed
from engine.ignore import Ignore, has_wildcards, normalised, translate
from engine.image.tree import Tree

_READ = 1 << 20
_NOTHING = Ignore(())


class Item(Struct, frozen=True):
    """One thing to copy: `path` in the source tree, `relative` below the destination ("" is the source itself)."""

    path: str
    relative: str
    status: os.stat_result


class Match(Struct, frozen=True):
    """One source of a COPY after wildcards: its name and all that comes with it, parents before children."""

    name: str
    items: tuple[Item, ...]

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.items[0].status.st_mode)


class SourceTree:
    """A tree to copy from. `ignore` hides paths; `owned` is False for the build context, whose files become root's;
    `digests` remembers what its files hash to."""

    def __init__(
        self, root: int, name: str, *, ignore: Ignore = _NOTHING, owned: bool = True, digests: Digests | None = None
    ) -> None:
        self.tree = Tree(root, name)
        self.name, self.ignore, self.owned, self.digests = name, ignore, owned, digests

    def close(self) -> None:
        self.tree.close()
        if self.digests:
            self.digests.save()

    def match(self, pattern: str, exclude: Ignore = _NOTHING) -> list[Match]:
        """What a source names: itself, or what its wildcards match. Raises BuildFailed when that is nothing."""
        # "../x" stays at the context's root, as in Docker.
        path = normalised(pattern)
        try:
            names = list(self._glob(path.split("/"))) if has_wildcards(path) else [path]
            found = [match for name in names if (match := self._take(name, exclude))]
        except OSError as error:
            raise OperationFailed.of("read", f"{self.name}/{path}", error) from error
        if not found:
            raise BuildFailed(f'"/{path}": not found in {self.name}{self._why(path)}')
        return found

    def _why(self, path: str) -> str:
        return " (it is excluded by .dockerignore)" if path and self.ignore.matches(path) else ""

    def _glob(self, parts: Sequence[str], base: str = "") -> Iterator[str]:
        part, rest = parts[0], parts[1:]
        if not has_wildcards(part):
            name = f"{base}/{part}".lstrip("/")
            if rest:
                yield from self._glob(rest, name)
            elif self.tree.lstat(name):
                yield name
            return
        pattern = translate(part)
        try:
            names = sorted(os.listdir(self._listing(base)))
        except OSError:
            return
        for entry in names:
            if pattern.fullmatch(entry):
                name = f"{base}/{entry}".lstrip("/")
                if rest:
                    yield from self._glob(rest, name)
                else:
                    yield name

    def _listing(self, path: str) -> int:
        """A directory's descriptor, from the tree's cache, for listing."""
        try:
            return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.tree.directory(path))
        except OperationFailed as error:
            raise OSError(error.errno, str(error)) from error

    def _take(self, name: str, exclude: Ignore) -> Match | None:
        """The source `name`, a link at its end followed inside the tree, with all below it that is not ignored."""
        try:
            fd = self.tree.open(name, os.O_PATH)
        except OSError:
            return None
        try:
            status = os.stat(fd)
            if stat.S_ISDIR(status.st_mode):
                below = tuple(self._walk(fd, name, exclude))
                if name and self.ignore.matches(name) and not below:
                    return None
                return Match(name, (Item(name, "", status), *below))
        finally:
            os.close(fd)
        if self.ignore.matches(name) or exclude.matches(name.rpartition("/")[2]):
            return None
        return Match(name, (Item(name, "", status),))

    def _walk(self, fd: int, top: str, exclude: Ignore) -> Iterator[Item]:
        """All below a directory in a fixed order. Directories that are ignored but hold something that is not are
        given.
        """
        root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        stack: list[tuple[int, str, Iterator[str]]] = [(root, "", iter(sorted(os.listdir(root))))]
        waiting: list[Item] = []
        try:
            while stack:
                here, base, names = stack[-1]
                name = next(names, None)
                if name is None:
                    os.close(stack.pop()[0])
                    if waiting and waiting[-1].relative + "/" == base:
                        waiting.pop()  # nothing below it was taken out of the ignored
                    continue
                relative = base + name
                path = f"{top}/{relative}".lstrip("/")
                status = os.stat(name, dir_fd=here, follow_symlinks=False)
                hidden = self.ignore.matches(path) or exclude.matches(relative)
                item = Item(path, relative, status)
                if stat.S_ISDIR(status.st_mode):
                    if self.ignore.prunes(path) or exclude.prunes(relative):
                        continue
                    if hidden:
                        waiting.append(item)
                    else:
                        yield from self._release(waiting, relative)
                        yield item
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                    child = os.open(name, flags, dir_fd=here)
                    stack.append((child, relative + "/", iter(sorted(os.listdir(child)))))
                elif not hidden:
                    yield from self._release(waiting, relative)
                    yield item
        finally:
            for here, _, _ in stack:
                os.close(here)

    @staticmethod
    def _release(waiting: list[Item], relative: str) -> Iterator[Item]:
        """The ignored directories above something that is not ignored: they are needed after all."""
        above = [item for item in waiting if relative.startswith(item.relative + "/")]
        waiting.clear()
        yield from above

    def open(self, item: Item) -> int:
        """A regular file's descriptor for reading; the link at a source's end is followed, inside the tree."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | (0 if not item.relative else os.O_NOFOLLOW)
        try:
            return self.tree.open(item.path, flags)
        except OSError as error:
            raise OperationFailed.of("open", f"{self.name}/{item.path}", error) from error

    def readlink(self, item: Item) -> str:
        parent, name = self.tree.parent(item.path)
        return os.readlink(name, dir_fd=parent)

    def digest(self, matches: Sequence[Match]) -> str:
        """What identifies the sources for the cache: names below the destination, kinds, modes, content; no times."""
        total = hashlib.sha256()
        for match in matches:
            name = match.name.rpartition("/")[2]
            for item in match.items:
                mode = item.status.st_mode
                owner = f"{item.status.st_uid}:{item.status.st_gid}" if self.owned else ""
                total.update(f"{name}\0{item.relative}\0{mode:o}\0{owner}\0".encode("utf-8", "surrogateescape"))
                if stat.S_ISREG(mode):
                    total.update(self._content(item))
                elif stat.S_ISLNK(mode):
                    total.update(os.fsencode(self.readlink(item)))
                elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                    total.update(b"%d" % item.status.st_rdev)
                total.update(b"\0")
        return total.hexdigest()

    def _content(self, item: Item) -> bytes:
        known = self.digests.get(item.path, item.status) if self.digests else None
        if known is not None:
            return known
        fd = self.open(item)
        try:
            content = hashlib.sha256()
            while data := os.read(fd, _READ):
                content.update(data)
            if self.digests:
                self.digests.put(item.path, item.status, content.digest())
            return content.digest()
        except OSError as error:
            raise OperationFailed.of("read", f"{self.name}/{item.path}", error) from error
        finally:
            os.close(fd)
