"""inotify(7): changes in watched directories."""

from __future__ import annotations

import ctypes
import os
import struct

from engine.errors import OperationFailed

IN_MODIFY, IN_CLOSE_WRITE, IN_ATTRIB = 0x2, 0x8, 0x4
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x40, 0x80, 0x100, 0x200
IN_DELETE_SELF, IN_Q_OVERFLOW, IN_IGNORED, IN_ONLYDIR, IN_ISDIR = 0x400, 0x4000, 0x8000, 0x1000000, 0x40000000

_HEAD = struct.Struct("=iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """One inotify descriptor, non-blocking. Raises OperationFailed (ENOSPC: fs.inotify.max_user_watches is reached)."""

    def __init__(self) -> None:
        self._fd = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self._fd < 0:
            raise _failure("inotify_init1", "")

    def fileno(self) -> int:
        return self._fd

    def add(self, path: str, mask: int) -> int:
        """Watch `path`. Returns the watch's number, which is the same if the path is already watched."""
        number = _libc.inotify_add_watch(self._fd, os.fsencode(path), ctypes.c_uint32(mask))
        if number < 0:
            raise _failure("watch", path)
        return int(number)

    def remove(self, number: int) -> None:
        """Remove a watch; does nothing if the kernel has removed it."""
        _libc.inotify_rm_watch(self._fd, number)

    def read(self) -> list[tuple[int, int, str]]:
        """The events so far, as watch number, mask and name within the folder. Never blocks."""
        events: list[tuple[int, int, str]] = []
        while True:
            try:
                data = os.read(self._fd, 65536)
            except BlockingIOError:
                return events
            place = 0
            while place < len(data):
                number, mask, _, length = _HEAD.unpack_from(data, place)
                place += _HEAD.size
                name = data[place : place + length].rstrip(b"\0")
                place += length
                events.append((number, mask, os.fsdecode(name)))

    def close(self) -> None:
        os.close(self._fd)


def _failure(operation: str, subject: str) -> OperationFailed:
    number = ctypes.get_errno()
    hint = "Raise fs.inotify.max_user_watches or max_user_instances." if number in (24, 28) else ""
    return OperationFailed(operation, subject, number, detail=os.strerror(number), hint=hint)
