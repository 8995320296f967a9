"""Receive files over a session: the protocol of tonistiigi/fsutil, in which the client lists its files, and sends the
contents that we request.

    STAT path, mode …  ◀ one for each, then an empty one
    REQ number         ▶ for each regular file
    DATA number, bytes ◀ pieces, then an empty one
    FIN                ▶ ◀

A folder may contain files of an earlier transfer: unchanged ones are not requested again, and unlisted ones are
removed. The client is not trusted: names stay below the folder, and its links are never followed."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from anyio import to_thread
from msgspec import Struct

from composer.serve.buildkit import wire
from composer.serve.buildkit.grpc import INVALID, Failed
from engine.poll import write_all

if TYPE_CHECKING:
    from composer.serve.buildkit.grpc import Call

STAT, REQ, DATA, FIN, ERR = range(5)
_DIR, _SYMLINK, _DEVICE, _FIFO, _SOCKET = 1 << 31, 1 << 27, 1 << 26, 1 << 25, 1 << 24
_SPECIAL = _DIR | _SYMLINK | _DEVICE | _FIFO | _SOCKET
_SETUID, _SETGID, _STICKY = 1 << 23, 1 << 22, 1 << 20
"""Bits of Go's io/fs.FileMode."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Entry(Struct, frozen=True):
    path: str
    mode: int
    modified: int
    link: str
    size: int

    @property
    def permissions(self) -> int:
        bits = ((_SETUID, stat.S_ISUID), (_SETGID, stat.S_ISGID), (_STICKY, stat.S_ISVTX))
        return self.mode & 0o777 | sum(ours for theirs, ours in bits if self.mode & theirs)


def _entry(data: bytes) -> Entry:
    found = wire.fields(data)
    path = next(iter(wire.blocks(found, 1)), b"").decode("utf-8", "surrogateescape")
    link = next(iter(wire.blocks(found, 7)), b"").decode("utf-8", "surrogateescape")
    parts = path.split("/")
    if not path or "\0" in path or path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise Failed(INVALID, f"the client sent a file with the invalid name {path!r}")
    modified = wire.number(found, 6)
    modified -= 1 << 64 if modified >> 63 else 0
    return Entry(path, wire.number(found, 2), modified, link, wire.number(found, 5))


async def receive(call: Call, folder: str) -> int:
    """Make `folder` a copy of the client's directory. The number of bytes received. Raises Failed, OSError."""
    tree = _Tree(folder)
    size = 0
    try:
        number, waiting, listed = 0, 0, False
        while not (listed and not waiting):
            data = await call.receive()
            if data is None:
                raise Failed(INVALID, "the client stopped sending files")
            size += len(data)
            packet = wire.fields(data)
            kind = wire.number(packet, 1)
            if kind == STAT:
                stat = next(iter(wire.blocks(packet, 2)), b"")
                if not stat:
                    listed = True
                    await to_thread.run_sync(tree.remove_others)
                    continue
                if tree.make(number, _entry(stat)):
                    waiting += 1
                    await call.send(wire.message((1, REQ), (3, number)))
                number += 1
            elif kind == DATA:
                waiting -= await _take(tree, packet)
            elif kind == ERR:
                raise Failed(INVALID, next(iter(wire.blocks(packet, 4)), b"").decode("utf-8", "replace"))
        await call.send(wire.message((1, FIN)))
        await call.close()
        with contextlib.suppress(Failed):
            while (data := await call.receive()) is not None:
                size += len(data)
        tree.settle()
        return size
    finally:
        tree.close()


_LARGE = 1 << 20
"""Bytes that a thread writes, so that other clients need not wait."""


async def _take(tree: _Tree, packet: wire.Fields) -> bool:
    """Write a piece of a file. Returns whether the packet was the file's last, which is empty."""
    content, identity = next(iter(wire.blocks(packet, 4)), b""), wire.number(packet, 3)
    if not content:
        tree.complete(identity)
    elif len(content) > _LARGE:
        await to_thread.run_sync(tree.write, identity, content)
    else:
        tree.write(identity, content)
    return not content


def _paths(root: int) -> set[str]:
    """All paths below a directory."""
    return {
        f"{folder[2:]}/{name}".lstrip("/")
        for folder, names, files, _ in os.fwalk(".", dir_fd=root)
        for name in (*names, *files)
    }


class _Tree:
    """The directory that receives the files. Every name is looked up from its root, without following links."""

    def __init__(self, folder: str) -> None:
        self._root = os.open(folder, _DIRECTORY)
        self._open: dict[int, tuple[Entry, str]] = {}
        self._folders: list[Entry] = []
        self._current: tuple[int, int] = (-1, -1)
        self._folder: tuple[str, int] | None = None
        """The last parent: entries of a folder follow one another."""
        self._there: set[str] = _paths(self._root)
        """Entries of an earlier transfer that are not yet listed."""

    def _parent(self, path: str) -> tuple[int, str]:
        """A descriptor of the parent folder, valid until the next call, and the last component."""
        above, _, last = path.rpartition("/")
        if self._folder is None or self._folder[0] != above:
            self._forget()
            fd = os.dup(self._root)
            for name in above.split("/") if above else ():
                try:
                    inner = os.open(name, _DIRECTORY, dir_fd=fd)
                finally:
                    os.close(fd)
                fd = inner
            self._folder = above, fd
        return self._folder[1], last

    def _forget(self) -> None:
        if self._folder is not None:
            os.close(self._folder[1])
            self._folder = None

    def _is_current(self, entry: Entry) -> bool:
        """Whether the client's file is already here, judging by its status. Anything else with its name is removed."""
        if entry.path not in self._there:
            return False
        fd, name = self._parent(entry.path)
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        found = bool(entry.mode & _DIR) and stat.S_ISDIR(status.st_mode)
        if not entry.mode & _SPECIAL and not entry.link and stat.S_ISREG(status.st_mode):
            have = stat.S_IMODE(status.st_mode), status.st_size, status.st_mtime_ns
            found = have == (entry.permissions, entry.size, entry.modified)
        if found:
            self._there.discard(entry.path)
        elif stat.S_ISDIR(status.st_mode):
            self._remove({path for path in self._there if f"{path}/".startswith(f"{entry.path}/")})
        else:
            self._remove({entry.path})
        return found

    def _remove(self, paths: set[str]) -> None:
        for path in sorted(paths, reverse=True):  # the entries of a directory before the directory
            fd, name = self._parent(path)
            try:
                os.unlink(name, dir_fd=fd)
            except IsADirectoryError:
                os.rmdir(name, dir_fd=fd)
        self._there -= paths

    def remove_others(self) -> None:
        """Remove what the client no longer has."""
        self._remove(self._there)

    def make(self, number: int, entry: Entry) -> bool:
        """Create an entry. Returns whether its content must be requested."""
        current = self._is_current(entry)
        fd, name = self._parent(entry.path)
        if entry.mode & _DIR:
            self._folders.append(entry)
            if not current:
                os.mkdir(name, 0o700, dir_fd=fd)
        elif current:
            return False
        elif entry.mode & _SYMLINK:
            os.symlink(entry.link, name, dir_fd=fd)
            os.utime(name, ns=(entry.modified, entry.modified), dir_fd=fd, follow_symlinks=False)
        elif entry.mode & _FIFO:
            os.mkfifo(name, entry.permissions, dir_fd=fd)
        elif entry.mode & (_DEVICE | _SOCKET):
            return False  # no build can use it
        elif entry.link:
            self._link(entry)
        else:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=fd))
            self._open[number] = (entry, entry.path)
            return True
        return False

    def _link(self, entry: Entry) -> None:
        """Create a hard link to a file that was listed before."""
        fd, target = self._parent(entry.link.lstrip("/"))
        fd = os.dup(fd)
        try:
            folder, name = self._parent(entry.path)
            os.link(target, name, src_dir_fd=fd, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(fd)

    def write(self, number: int, content: bytes) -> None:
        file = self._file(number)
        write_all(file, content)

    def _file(self, number: int) -> int:
        """The file's descriptor, which stays open until data for another file arrives."""
        if self._current[0] != number:
            if number not in self._open:
                raise Failed(INVALID, f"the client sent a file that was not requested: {number}")
            self._leave()
            fd, name = self._parent(self._open[number][1])
            flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._current = number, os.open(name, flags, dir_fd=fd)
        return self._current[1]

    def complete(self, number: int) -> None:
        file = self._file(number)
        entry, _ = self._open.pop(number)
        os.fchmod(file, entry.permissions)
        os.utime(file, ns=(entry.modified, entry.modified))
        self._leave()

    def settle(self) -> None:
        """Set modes and times of folders, innermost first, because creating entries changes both."""
        for entry in reversed(self._folders):
            fd, name = self._parent(entry.path)
            inner = os.open(name, _DIRECTORY, dir_fd=fd)
            try:
                os.fchmod(inner, entry.permissions)
                os.utime(inner, ns=(entry.modified, entry.modified))
            finally:
                os.close(inner)

    def _leave(self) -> None:
        if self._current[1] >= 0:
            os.close(self._current[1])
        self._current = (-1, -1)

    def close(self) -> None:
        self._leave()
        self._forget()
        os.close(self._root)
