"""One container's spool as its shipper reads it: the next lines, and how far it has been sent."""

from __future__ import annotations

import contextlib
import os
import time

from engine.log import local
from engine.log.files import Chain
from engine.log.local import Decoder, Record

TYPE_CHECKING = False  # of typing, which a shipper need not load for this
if TYPE_CHECKING:
    from engine.log.settings import Ship

BLOCK = 65536
"""Bytes of the spool in one batch, which may be sent twice after a crash."""


class Source:
    """`fd` is the current file, and `number` its number (engine.log.files): it may be rotated away, or the directory
    removed, before we read it. We close the descriptor."""

    def __init__(self, folder: str, ship: Ship, fd: int, number: int) -> None:
        self.folder, self.ship = folder, ship
        self.ended = False
        self._chain = Chain(f"{folder}/{local.NAME}")
        self._decoder = Decoder()
        self._place = -1
        self._gap = 0
        with contextlib.suppress(OSError):
            self._place = os.open(f"{folder}/shipped", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._resume(fd, number)

    def batch(self) -> list[Record]:
        """The next lines; empty if there are none now."""
        while True:
            data = self._chain.read(BLOCK)
            if data:
                found = self._decode(data)
                if self._gap:
                    found.insert(
                        0, self.note(f"{self._gap} files of output were rotated away before they could be sent")
                    )
                    self._gap = 0
                if found:
                    return found
                continue
            before = self._chain.number
            if not self._chain.advance():
                return []
            self._gap += max(0, self._chain.number - before - 1) if before else 0
            self._decoder = Decoder()

    def sent(self) -> None:
        """The target has received everything that `batch` returned."""
        if self._place >= 0 and self._chain.fd >= 0:
            inode = os.fstat(self._chain.fd).st_ino
            place = self._chain.offset() - self._decoder.pending
            os.pwrite(self._place, b"%020d %020d %020d\n" % (self._chain.number, inode, place), 0)

    def trim(self, limit: int) -> int:
        """Skip lines so that at most about the last `limit` are left. Returns the number of skipped lines."""
        skip = self._left() - limit
        skipped = 0
        while skipped < skip and (found := self.batch()):
            skipped += len(found)
        return skipped

    def _left(self) -> int:
        """The number of waiting lines, counted by a separate reader."""
        ahead, decoder = Chain(self._chain.path), Decoder()
        ahead.number = self._chain.number
        ahead.fd = os.open(f"/proc/self/fd/{self._chain.fd}", os.O_RDONLY | os.O_CLOEXEC)
        os.lseek(ahead.fd, self._chain.offset() - self._decoder.pending, os.SEEK_SET)
        total = 0
        try:
            while True:
                if data := ahead.read(BLOCK):
                    total += sum(1 for _ in decoder.feed(data))
                elif ahead.advance():
                    decoder = Decoder()
                else:
                    return total
        except ValueError:
            return total
        finally:
            ahead.close()

    def note(self, text: str) -> Record:
        """A line of our own, for the target."""
        return Record(time.time_ns(), "stderr", f"composer: {text}\n".encode())

    def close(self) -> None:
        self._chain.close()
        if self._place >= 0:
            os.close(self._place)
            self._place = -1

    def _decode(self, data: bytes) -> list[Record]:
        found: list[Record] = []
        try:
            found.extend(self._decoder.feed(data))
        except ValueError:
            self._decoder = Decoder()
        return found

    def _resume(self, fd: int, number: int) -> None:
        """Start at the position in `shipped` if that file still exists; else at the oldest one."""
        text = os.pread(self._place, 100, 0).split() if self._place >= 0 else []
        known, inode, offset = (int(word) for word in text) if len(text) == 3 else (1, -1, 0)
        if not self._chain.open(known) or (inode < 0 and self._chain.number >= number):
            self._chain.close()
            self._chain.fd, self._chain.number = fd, number
        else:
            os.close(fd)
        self._gap = self._chain.number - known
        if inode == os.fstat(self._chain.fd).st_ino:
            os.lseek(self._chain.fd, offset, os.SEEK_SET)
        elif inode >= 0:
            self._gap = max(1, self._gap)
