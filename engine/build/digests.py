"""What files of a build context hash to, remembered between builds by their status, so that an unchanged context is
not read again.

    <state>/cache/build/digests-<hash of the context's path>.json    path → [inode, size, mtime, ctime, mode, sha256]
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time

import msgspec

from engine import atomic
from engine.filetree.attributes import set_time
from engine.paths import make_private

_SETTLED = 2_000_000_000
"""Nanoseconds: a file changed less than this ago might change again without its times showing it."""

_SLACK = 10_000
"""Entries that may be kept for other builds."""

_AGE = 30 * 86400.0
_SIZE = 64 << 20

Entry = tuple[int, int, int, int, int, str]

_decode = msgspec.json.Decoder(dict[str, Entry]).decode


class Digests:
    """The remembered digests of one context; the file may be lost, damaged or written by two builds at any time."""

    def __init__(self, folder: str, context: str) -> None:
        self._path = f"{folder}/digests-{hashlib.sha256(os.fsencode(os.path.abspath(context))).hexdigest()[:24]}.json"
        self._known: dict[str, Entry] | None = None
        self._seen: dict[str, Entry] = {}
        self._changed = False
        self._now = time.time_ns()

    def get(self, path: str, status: os.stat_result) -> bytes | None:
        """The digest of the file's content, None when it is not known for exactly this status."""
        if self._known is None:
            self._known = self._load()
        entry = self._known.get(path)
        if entry is None or entry[:5] != _identity(status):
            return None
        self._seen[path] = entry
        return bytes.fromhex(entry[5])

    def put(self, path: str, status: os.stat_result, digest: bytes) -> None:
        """Remember it, unless the file is so recent that its times could hide a later change."""
        if max(status.st_mtime_ns, status.st_ctime_ns) + _SETTLED < self._now:
            self._seen[path] = (*_identity(status), digest.hex())
            self._changed = True

    def save(self) -> None:
        """Write new entries. Entries that this build did not use are kept for other builds of the context, up to a
        limit."""
        if not self._changed:
            if self._seen:
                with contextlib.suppress(OSError):
                    set_time(self._path, time.time_ns())  # used now
            return
        known = self._known or {}
        kept = {**known, **self._seen} if len(known) < _SLACK + 4 * len(self._seen) else self._seen
        # The file only saves time: operations that need the space report a full disk.
        with contextlib.suppress(OSError):
            make_private(os.path.dirname(self._path))
            text = msgspec.json.encode({name: entry for name, entry in kept.items() if _is_text(name)})
            atomic.replace(self._path, text)

    def _load(self) -> dict[str, Entry]:
        try:
            with open(self._path, "rb") as file:
                return _decode(file.read())
        except (OSError, msgspec.MsgspecError):
            return {}


def sweep(folder: str, *, age: float = _AGE, size: int = _SIZE) -> None:
    """Remove files of contexts that were last built more than `age` seconds ago, and, of the others, those used longest ago
    once all take more than `size` bytes."""
    found: list[tuple[float, int, str]] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("digests-"):
                status = entry.stat()
                found.append((status.st_mtime, status.st_size, entry.path))
    total, oldest = 0, time.time() - age
    for used, taken, path in sorted(found, reverse=True):
        total += taken
        if used < oldest or total > size:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _identity(status: os.stat_result) -> tuple[int, int, int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode


def _is_text(name: str) -> bool:
    """Names that are not UTF-8 have no form in JSON."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
