"""The numbered files of a log: `json.log` is the current file; rotated ones are `json.log.1`, `json.log.2` …, newer
ones higher.

A file keeps its number, so that a reader finds the next one; `.gz` is added after compression. The current file has the
number after the highest.
"""

from __future__ import annotations

import os
from contextlib import suppress


def rotated(path: str) -> dict[int, str]:
    """Number → path of the rotated files, oldest first. A file that exists in both forms is being compressed."""
    folder, name = os.path.split(path)
    found: dict[int, str] = {}
    with suppress(FileNotFoundError):
        for entry in os.listdir(folder):
            if entry.startswith(f"{name}."):
                number = entry[len(name) + 1 :].removesuffix(".gz")
                if number.isdecimal() and not (entry.endswith(".gz") and int(number) in found):
                    found[int(number)] = f"{folder}/{entry}"
    return dict(sorted(found.items()))


def remove(path: str, number: int) -> None:
    for name in (f"{path}.{number}", f"{path}.{number}.gz"):
        with suppress(FileNotFoundError):
            os.unlink(name)


def compress(path: str) -> None:
    """Replace the rotated file `path` by `path`.gz; does nothing if rotation has removed it meanwhile."""
    import gzip
    import shutil

    temporary = f"{path}.gz.new"
    try:
        with (
            open(path, "rb") as source,
            open(temporary, "wb", opener=lambda name, bits: os.open(name, bits, 0o600)) as target,
            gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1, filename="") as packed,
        ):
            shutil.copyfileobj(source, packed, 1 << 18)
        os.rename(temporary, f"{path}.gz")
        os.unlink(path)
    except FileNotFoundError:
        with suppress(FileNotFoundError):
            os.unlink(f"{path}.gz")
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _open(path: str) -> int:
    """A descriptor for reading; for a compressed file, of its content unpacked into memory."""
    if not path.endswith(".gz"):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    import gzip
    import shutil

    with gzip.open(path) as source:
        fd = os.memfd_create("log", os.MFD_CLOEXEC)
        with open(fd, "wb", closefd=False) as target:
            shutil.copyfileobj(source, target, 1 << 18)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


class Chain:
    """One reader's position in the files. `number` and `fd` (-1: none yet) are the current file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd, self.number = -1, 0

    def open(self, number: int) -> bool:
        """Go to the oldest file whose number is at least `number`; False if there is none."""
        for _ in range(100):  # a file may be removed before we open it
            known = rotated(self.path)
            at_least = [one for one in known if one >= number]
            chosen = known[at_least[0]] if at_least else self.path
            try:
                fd = _open(chosen)
            except FileNotFoundError:
                if chosen == self.path and rotated(self.path).keys() == known.keys():
                    return False
                continue
            if chosen == self.path and not self._is_current(fd, known):
                os.close(fd)
                continue
            self.close()
            self.fd, self.number = fd, at_least[0] if at_least else max(known, default=0) + 1
            return True
        return False

    def read(self, size: int) -> bytes:
        """The next bytes of this file; b"" at its end (for the current file, the end so far)."""
        return os.read(self.fd, size) if self.fd >= 0 else b""

    def advance(self) -> bool:
        """At the end of a file, continue with the next, if there is one, after the last bytes of the old one."""
        if self.fd < 0:
            return self.open(0)
        if self._is_current(self.fd) or not self._read_whole():
            return False
        return self.open(self.number + 1)

    def offset(self) -> int:
        return os.lseek(self.fd, 0, os.SEEK_CUR)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _read_whole(self) -> bool:
        return self.offset() >= os.fstat(self.fd).st_size

    def _is_current(self, fd: int, known: dict[int, str] | None = None) -> bool:
        """Whether `fd` is the current file (and, if `known` is given, has not been rotated since)."""
        try:
            same = os.path.samestat(os.fstat(fd), os.stat(self.path))
        except FileNotFoundError:
            return not os.path.isdir(os.path.dirname(self.path))  # the container has been removed: the end
        return same and (known is None or rotated(self.path).keys() == known.keys())
