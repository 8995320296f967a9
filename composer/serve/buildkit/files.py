"""Receive files over a session: the protocol of tonistiigi/fsutil, in which the client lists its files, and sends the
contents that we request.

    STAT path, mode …  ◀ one for each, then an empty one
    REQ number         ▶ for each regular file
    DATA number, bytes ◀ pieces, then an empty one
    FIN                ▶ ◀

The client is not trusted: names stay below the folder, and its links are never followed.
"""

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
_SETUID, _SETGID, _STICKY = 1 << 23, 1 << 22, 1 << 20
"""Bits of Go's io/fs.FileMode."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Entry(Struct, frozen=True):
    path: str
    mode: int
    modified: int
    link: str

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
    return Entry(path, wire.number(found, 2), modified - (1 << 64) if modified >> 63 else modified, link)


async def receive(call: Call, folder: str) -> None:
    """Receive the client's files into `folder`, an empty directory. Raises Failed, OSError."""
    tree = _Tree(folder)
    try:
        number, waiting, listed = 0, 0, False
        while not (listed and not waiting):
            data = await call.receive()
            if data is None:
                raise Failed(INVALID, "the client stopped sending files")
            packet = wire.fields(data)
            kind = wire.number(packet, 1)
            if kind == STAT:
                said = next(iter(wire.blocks(packet, 2)), b"")
                if not said:
                    listed = True
                    continue
                if tree.make(number, _entry(said)):
                    waiting += 1
                    await call.send(wire.message((1, REQ), (3, number)))
                number += 1
            elif kind == DATA:
                content = next(iter(wire.blocks(packet, 4)), b"")
                identity = wire.number(packet, 3)
                if content:
                    await to_thread.run_sync(tree.write, identity, content) if len(content) > _LARGE else tree.write(
                        identity, content
                    )
                else:
                    tree.complete(identity)
                    waiting -= 1
            elif kind == ERR:
                raise Failed(INVALID, next(iter(wire.blocks(packet, 4)), b"").decode("utf-8", "replace"))
        await call.send(wire.message((1, FIN)))
        await call.close()
        with contextlib.suppress(Failed):
            while await call.receive() is not None:
                pass
        tree.settle()
    finally:
        tree.close()


_LARGE = 1 << 20


class _Tree:
    """The directory that receives the files. Every name is looked up from its root, without following links."""

    def __init__(self, folder: str) -> None:
        self._root = os.open(folder, _DIRECTORY)
        self._open: dict[int, tuple[Entry, str]] = {}
        self._folders: list[Entry] = []
        self._current: tuple[int, int] = (-1, -1)

    def _parent(self, path: str) -> tuple[int, str]:
        """A descriptor of the parent folder, which the caller closes, and the last component."""
        *folders, last = path.split("/")
        fd = os.dup(self._root)
        for name in folders:
            try:
                inner = os.open(name, _DIRECTORY, dir_fd=fd)
            finally:
                os.close(fd)
            fd = inner
        return fd, last

    def make(self, number: int, entry: Entry) -> bool:
        """Create an entry. Returns whether its content must be requested."""
        fd, name = self._parent(entry.path)
        try:
            if entry.mode & _DIR:
                os.mkdir(name, 0o700, dir_fd=fd)
                self._folders.append(entry)
            elif entry.mode & _SYMLINK:
                os.symlink(entry.link, name, dir_fd=fd)
                os.utime(name, ns=(entry.modified, entry.modified), dir_fd=fd, follow_symlinks=False)
            elif entry.mode & _FIFO:
                os.mkfifo(name, entry.permissions, dir_fd=fd)
            elif entry.mode & (_DEVICE | _SOCKET):
                return False  # no build can use it
            elif entry.link:
                other, target = self._parent(entry.link.lstrip("/"))
                try:
                    os.link(target, name, src_dir_fd=other, dst_dir_fd=fd, follow_symlinks=False)
                finally:
                    os.close(other)
            else:
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=fd))
                self._open[number] = (entry, entry.path)
                return True
            return False
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
            try:
                flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
                self._current = number, os.open(name, flags, dir_fd=fd)
            finally:
                os.close(fd)
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
            try:
                inner = os.open(name, _DIRECTORY, dir_fd=fd)
                os.fchmod(inner, entry.permissions)
                os.utime(inner, ns=(entry.modified, entry.modified))
                os.close(inner)
            finally:
                os.close(fd)

    def _leave(self) -> None:
        if self._current[1] >= 0:
            os.close(self._current[1])
        self._current = (-1, -1)

    def close(self) -> None:
        self._leave()
        os.close(self._root)
