"""Working on an untrusted directory tree by directory descriptors.

Every path is resolved by openat2(2) with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS: symbolic links, ".." and absolute
names stay inside, even if the tree is hostile and changes meanwhile. The kernel never resolves a path from the host's
root.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable

from engine.errors import OperationFailed
from engine.filetree.long_path import is_long, open_below
from engine.filetree.regular import reopened
from engine.kernel.calls import openat2

_CACHE = 64
_LINKS = 40
_ATTEMPTS = 64

Made = Callable[[int, str], None]
"""Called with (parent descriptor, name) for each directory made on the way to another."""


class Tree:
    """The tree below descriptor `root` (owned by the caller, who keeps it open). Raises OperationFailed. `upper` is the
    descriptor of the directory that holds what is written to an overlay, -1 if the tree is none.

    `directory` and `parent` give descriptors that belong to the tree's cache: use them at once, do not close them.
    """

    def __init__(self, root: int, name: str = "", *, upper: int = -1) -> None:
        self.root, self.upper = root, upper
        self.name = name
        self._cache: dict[str, int] = {}

    def close(self) -> None:
        """Close the cached descriptors."""
        for fd in self._cache.values():
            os.close(fd)
        self._cache.clear()

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """A new descriptor for the target of `path`, which the caller closes. Raises OSError as open(2) does. Links are not
        followed on a path that is longer than the kernel accepts."""
        if is_long(path):
            return open_below(self.root, path, flags)
        for attempt in range(_ATTEMPTS):
            try:
                return openat2(self.root, path or ".", flags)
            except OperationFailed as error:
                # EAGAIN: something was renamed while ".." was resolved, so the kernel cannot be sure (openat2(2)).
                if error.errno != errno.EAGAIN or attempt + 1 == _ATTEMPTS:
                    raise OSError(error.errno, os.strerror(error.errno), path) from error
        raise AssertionError

    def directory(self, path: str, made: Made | None = None) -> int:
        """A directory's descriptor; with `made`, missing directories on the way are created (mode 0755) and reported to
        it."""
        cached = self._cache.pop(path, None)
        if cached is not None:
            # Move it to the end: the descriptors of the most recent calls are never closed.
            self._cache[path] = cached
            return cached
        try:
            fd = self._directory(path, made, 0)
        except OSError as error:
            raise OperationFailed.of("open directory", f"{self.name}/{path}", error) from error
        if len(self._cache) >= _CACHE:
            os.close(self._cache.pop(next(iter(self._cache))))
        self._cache[path] = fd
        return fd

    def _directory(self, path: str, made: Made | None, links: int) -> int:
        """Descend name by name where a directory is missing: a path may have any depth."""
        try:
            return self._existing(path)
        except FileNotFoundError:
            if made is None or not path or links > _LINKS:
                raise
        fd = self.open("", os.O_PATH | os.O_DIRECTORY)
        names = [name for name in path.split("/") if name not in ("", ".")]
        for number, name in enumerate(names, 1):
            parent, found = fd, _plain(fd, name)
            try:
                fd = self._created(parent, "/".join(names[:number]), made, links) if found is None else found
            finally:
                os.close(parent)
        return fd

    def _existing(self, path: str) -> int:
        above, _, name = path.rpartition("/")
        # Below a directory that is open one name is enough; the whole path would make deep trees quadratic.
        if above in self._cache and (fd := _plain(self._cache[above], name)) is not None:
            return fd
        return self.open(path, os.O_PATH | os.O_DIRECTORY)

    def _created(self, parent: int, path: str, made: Made, links: int) -> int:
        """The directory `path`, created in `parent` unless it is there."""
        above, _, name = path.rpartition("/")
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
            made(parent, name)
        except FileExistsError:
            # It was created concurrently, is a link, or is "..".
            with contextlib.suppress(OSError):
                target = os.readlink(name, dir_fd=parent)
                joined = target if target.startswith("/") else f"{above}/{target}"
                os.close(self._directory(joined.strip("/"), made, links + 1))
        else:
            if (fd := _plain(parent, name)) is not None:
                return fd
        return self.open(path, os.O_PATH | os.O_DIRECTORY)

    def parent(self, path: str, made: Made | None = None) -> tuple[int, str]:
        """The descriptor of the directory that holds `path`, and the last name, which is not followed."""
        above, _, name = path.rpartition("/")
        return self.directory(above, made), name

    def lstat(self, path: str) -> os.stat_result | None:
        """The status of `path` itself; None when it or its directory does not exist."""
        fd = self._itself(path)
        if fd is None:
            return None
        try:
            return os.stat(fd)
        finally:
            os.close(fd)

    def readlink(self, path: str) -> str | None:
        """The text of the link `path`; None if it does not exist or is not a link."""
        fd = self._itself(path)
        if fd is None:
            return None
        try:
            return os.readlink("", dir_fd=fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else None
        finally:
            os.close(fd)

    def _itself(self, path: str) -> int | None:
        """A handle on `path`, whose last name is not followed; None when it or its directory does not exist."""
        try:
            return self.open(path, os.O_PATH | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise OperationFailed.of("stat", f"{self.name}/{path}", error) from error

    def read(self, path: str, limit: int = 1 << 20) -> bytes | None:
        """The first `limit` bytes of a regular file, None when there is none."""
        try:
            fd = reopened(self.open(path, os.O_PATH))
        except OSError:
            return None
        with os.fdopen(fd, "rb") as file:
            return file.read(limit)

    def forget(self, keep: int = -1) -> None:
        """Drop cached descriptors because something on their paths was replaced; `keep` stays open for its user."""
        for path, fd in list(self._cache.items()):
            if fd != keep:
                os.close(fd)
                del self._cache[path]


def _plain(parent: int, name: str) -> int | None:
    """The directory `name` in `parent`; None if it is not a directory, is a link to one, or is not a plain name."""
    if name in ("", ".", ".."):
        return None
    try:
        return os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except OSError:
        return None


def clean(name: str) -> str | None:
    """`name` as a relative path without empty, "." and ".." components; None when it points outside the root or contains a
    NUL."""
    if "\0" in name:
        return None
    name = name.removeprefix("./")
    if "/." not in name and "//" not in name and name[:1] != ".":
        return name.strip("/")
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part and part != ".":
            parts.append(part)
    return "/".join(parts)
