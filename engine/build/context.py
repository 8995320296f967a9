"""The sources of COPY: the build context, a named context, a stage or an image. None of these trees is trusted."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from engine.build.digests import Digests
from engine.errors import BuildFailed, OperationFailed
from engine.filetree.descent import Descent
from engine.filetree.regular import open_regular, reopened
from engine.ignore import Ignore, is_pattern, normalised, translate_glob
from engine.image.tree import Tree

_READ = 1 << 20
_NOTHING = Ignore(())
_STEPS = 4096
"""How many path components are followed, so that a loop of links ends."""


class Item(Struct, frozen=True):
    """One thing to copy: `path` in the source tree, `relative` below the destination ("" is the source itself). `implied`: a
    directory that was not requested itself, but contains something that was."""

    path: str
    relative: str
    status: os.stat_result
    implied: bool = False


class Match(Struct, frozen=True):
    """One source of a COPY after wildcards: its name and all that comes with it, parents before children."""

    name: str
    items: tuple[Item, ...]

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.items[0].status.st_mode)


class SourceTree:
    """A tree to copy from. `ignore` hides paths; `owned` is False for the build context, whose files become root's;
    `digests` remembers what its files hash to; `identity` names the tree in cache keys; `layers` see that method."""

    def __init__(
        self,
        root: int,
        name: str,
        *,
        ignore: Ignore = _NOTHING,
        owned: bool = True,
        digests: Digests | None = None,
        identity: str = "",
        layers: Callable[[SourceTree], tuple[str, ...] | None] = lambda tree: None,
    ) -> None:
        self.tree = Tree(root, name)
        self.name, self.ignore, self.owned, self.digests = name, ignore, owned, digests
        self.identity, self._make_layers = identity, layers
        self._layers: list[tuple[str, ...] | None] = []

    def layers(self) -> tuple[str, ...] | None:
        """Directories of an overlay that shows the tree, lowest first; None if only a copy can."""
        if not self._layers:
            self._layers.append(self._make_layers(self))
        return self._layers[0]

    def everything(self) -> tuple[Item, ...]:
        """The whole tree, without ignored files, its root first."""
        found = self._take("", _NOTHING, None)
        assert found
        return found.items

    def names(self, path: str) -> list[str]:
        """The names in a directory, including ignored ones."""
        fd = self._listing(path)
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def find(self, path: str) -> Match:
        """The entry at `path`, without wildcards. Raises BuildFailed when it does not exist."""
        name = normalised(path)
        try:
            found = self._take(name, _NOTHING, None)
        except OSError as error:
            raise OperationFailed.of("read", f"{self.name}/{name}", error) from error
        if found is None:
            raise self._missing(name)
        return found

    def close(self) -> None:
        self.tree.close()
        if self.digests:
            self.digests.save()

    def match(self, pattern: str, exclude: Ignore = _NOTHING, include: Ignore | None = None) -> list[Match]:
        """What a source names: itself, or what its wildcards match, which may be nothing. Of what is below a
        directory only what `include` matches is taken, without what `exclude` does; files named themselves always are.

        Raises BuildFailed for a source without wildcards that does not exist."""
        # "../x" stays at the context's root, as in Docker.
        path = normalised(pattern)
        try:
            wild = is_pattern(path)
            names = list(self._matching(path)) if wild else [path]
            taken = {name: self._take(name, exclude, include) for name in names}
            found = [match for match in taken.values() if match]
            if wild and (broken := [name for name in names if not taken[name] and not self.ignore.matches(name)]):
                raise self._missing(broken[0])
        except re.error as error:
            raise BuildFailed(f"invalid pattern {pattern!r}: {error}") from error
        except OSError as error:
            raise OperationFailed.of("read", f"{self.name}/{path}", error) from error
        if not found and not wild:
            raise self._missing(path)
        return found

    def match_parents(self, pattern: str, exclude: Ignore = _NOTHING) -> list[Match]:
        """What --parents copies: from the directory before `/./`, or the root, what the pattern matches, with the
        directories above it. Raises BuildFailed for a pattern without wildcards that matches nothing."""
        above, pivot, below = pattern.partition("/./")
        above, below = (normalised(above), normalised(below)) if pivot else ("", normalised(pattern))
        found = self.match(above, exclude, Ignore([below or "**"], "--parents", file=False))
        for match in found:
            if not match.is_directory:
                raise BuildFailed(f'"/{match.name}" in {self.name} is not a directory')
            if len(match.items) == 1 and below and not is_pattern(above) and not is_pattern(below):
                raise self._missing(f"{above}/{below}".strip("/"))
        return found

    def _missing(self, path: str) -> BuildFailed:
        return BuildFailed(f'"/{path}": not found in {self.name}{self._why(path)}')

    def _why(self, path: str) -> str:
        place, hidden = self._resolved(path)
        if not hidden:
            return ""
        subject = "it" if f"{path}/".startswith(f"{place}/") else f"it leads to /{place}, which"
        return f" ({subject} is excluded by .dockerignore)"

    def _resolved(self, path: str) -> tuple[str, bool]:
        """Where the links on `path` lead, and whether they pass an ignored path. Patterns apply to a file's own path,
        not to links that lead to it. Without ignored files the kernel resolves the links."""
        if not self.ignore:
            return path, False
        parts, done = path.split("/") if path else [], ""
        for _ in range(_STEPS):
            if not parts:
                break
            name = parts.pop(0)
            if name in ("", ".", ".."):
                done = done.rpartition("/")[0] if name == ".." else done
                continue
            done = f"{done}/{name}".lstrip("/")
            status = self.tree.lstat(done)
            if status is not None and stat.S_ISLNK(status.st_mode):
                if self.ignore.matches(done):
                    return done, True
                target = self.readlink(Item(done, "", status))
                done = "" if target.startswith("/") else done.rpartition("/")[0]
                parts = [*target.split("/"), *parts]
        return done, bool(done) and self.ignore.matches(done)

    def _matching(self, pattern: str) -> Iterator[str]:
        """The names that a pattern with wildcards matches. Raises BuildFailed if the directory before its first wildcard does
        not exist."""
        parts = pattern.split("/")
        fixed = "/".join(itertools.takewhile(lambda part: not is_pattern(part), parts))
        if fixed and not self._is_directory(fixed):
            raise self._missing(fixed)
        return self._glob(parts)

    def _is_directory(self, path: str) -> bool:
        """Whether there is a directory at `path` that is not ignored, or holds something that is not."""
        place, hidden = self._resolved(path)
        try:
            fd = self.tree.open(place, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return False
        try:
            return not hidden or next(self._walk(fd, place, _NOTHING), None) is not None
        finally:
            os.close(fd)

    def _glob(self, parts: Sequence[str], base: str = "") -> Iterator[str]:
        part, rest = parts[0], parts[1:]
        if not is_pattern(part):
            name = f"{base}/{part}".lstrip("/")
            if rest:
                yield from self._glob(rest, name)
            elif self.tree.lstat(name):
                yield name
            return
        pattern = translate_glob(part)
        try:
            names = sorted(self.names(base))
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
        """A directory's descriptor from the tree's cache, for listing it."""
        try:
            return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.tree.directory(path))
        except OperationFailed as error:
            raise OSError(error.errno, str(error)) from error

    def _take(self, name: str, exclude: Ignore, include: Ignore | None) -> Match | None:
        """The source `name`, a link at its end followed inside the tree, with all below it that is not ignored."""
        place, hidden = self._resolved(name)
        try:
            fd = self.tree.open(place, os.O_PATH)
        except OSError:
            return None
        try:
            status = os.stat(fd)
            if stat.S_ISDIR(status.st_mode):
                below = tuple(self._walk(fd, place, exclude, include))
                return None if hidden and not below else Match(name, (Item(place, "", status), *below))
        finally:
            os.close(fd)
        return None if hidden else Match(name, (Item(place, "", status),))

    def _walk(self, fd: int, top: str, exclude: Ignore, include: Ignore | None = None) -> Iterator[Item]:
        """All below a directory in a fixed order. Directories that are ignored but hold something that is not are
        given; those that are excluded, or not included, as implied."""
        waiting: list[Item] = []
        with Descent(fd) as walk:
            stack: list[tuple[str, Iterator[str]]] = [("", iter(sorted(os.listdir(walk.enter(".")))))]
            while stack:
                base, names = stack[-1]
                name = next(names, None)
                if name is None:
                    stack.pop()
                    walk.leave()
                    if waiting and waiting[-1].relative + "/" == base:
                        waiting.pop()  # no pattern re-includes anything below it
                    continue
                relative = base + name
                path = f"{top}/{relative}".lstrip("/")
                try:
                    status = os.stat(name, dir_fd=walk.fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # it was removed meanwhile
                left_out = exclude.matches(relative) or bool(include and not include.matches(relative))
                hidden = left_out or self.ignore.matches(path)
                if stat.S_ISDIR(status.st_mode):
                    if self.ignore.prunes(path) or exclude.prunes(relative) or (include and include.avoids(relative)):
                        continue
                    try:
                        below = sorted(os.listdir(walk.enter(name)))
                    except (FileNotFoundError, NotADirectoryError):
                        continue  # it was removed or replaced meanwhile
                    if hidden:
                        waiting.append(Item(path, relative, status, left_out))
                    else:
                        yield from self._release(waiting, relative)
                        yield Item(path, relative, status)
                    stack.append((relative + "/", iter(below)))
                elif not hidden:
                    yield from self._release(waiting, relative)
                    yield Item(path, relative, status)

    @staticmethod
    def _release(waiting: list[Item], relative: str) -> Iterator[Item]:
        """The hidden directories above something that is not hidden: they are needed after all."""
        above = [item for item in waiting if relative.startswith(item.relative + "/")]
        waiting.clear()
        yield from above

    def open(self, item: Item) -> int:
        """A regular file's descriptor for reading; the link at a source's end is followed, inside the tree."""
        try:
            if not item.relative:
                return reopened(self.tree.open(item.path, os.O_PATH))
            return open_regular(*self.tree.parent(item.path))
        except OSError as error:
            raise OperationFailed.of("open", f"{self.name}/{item.path}", error) from error

    def readlink(self, item: Item) -> str:
        parent, name = self.tree.parent(item.path)
        try:
            return os.readlink(name, dir_fd=parent)
        except OSError as error:
            raise OperationFailed.of("read", f"{self.name}/{item.path}", error) from error

    def digest(self, matches: Sequence[Match]) -> str:
        """What identifies the sources for the cache: names below the destination, kinds, modes, content; no times.

        Of a directory whose content is copied, neither name nor mode: they do not reach the image."""
        total = hashlib.sha256()
        for match in matches:
            name = "" if match.is_directory else match.name.rpartition("/")[2]
            for item in match.items[1:] if match.is_directory else match.items:
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
            if item.status.st_mode & 0o111:
                content.update(_capability(fd))
            if self.digests:
                self.digests.put(item.path, item.status, content.digest())
            return content.digest()
        except OSError as error:
            raise OperationFailed.of("read", f"{self.name}/{item.path}", error) from error
        finally:
            os.close(fd)


def _capability(fd: int) -> bytes:
    """A program's file capabilities (capabilities(7)), b"" when it has none."""
    try:
        return os.getxattr(fd, "security.capability")
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP):
            raise
        return b""
