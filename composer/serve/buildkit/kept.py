"""Contexts of earlier builds: a client lists its files, and sends those that have changed (moby/buildkit, source/local).

    <state>/cache/build/context-<hash of the client's key>/       the files
    <state>/cache/build/context-<hash of the client's key>.lock   locked by the build that uses them

Beyond KEPT, the oldest are removed, as are those that no build has used for two days.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator

from engine.paths import Roots, make_private

KEPT = 10
_PREFIX, _LOCK = "context-", ".lock"
_SECONDS = 48 * 3600.0


@contextlib.contextmanager
def folder(roots: Roots, key: str, name: str) -> Iterator[str | None]:
    """The folder for the client's directory `name`, with the files of the last build with the client's `key`. None
    while another build uses it, and without a key."""
    parent = roots.builds
    identity = hashlib.sha256(f"{key} {name}".encode("utf-8", "surrogateescape")).hexdigest()
    path = f"{parent}/{_PREFIX}{identity[:24]}"
    lock = _locked(path) if key else -1
    try:
        if lock >= 0:
            os.utime(lock)
            make_private(path)
            _sweep(parent)
        yield path if lock >= 0 else None
    finally:
        if lock >= 0:
            os.close(lock)


def _locked(path: str) -> int:
    """The lock of the directory `path`; -1 if another process has it."""
    make_private(os.path.dirname(path))
    lock = os.open(path + _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_nlink:
            return lock
    except BlockingIOError:
        pass
    os.close(lock)  # in use, or just swept
    return -1


def _sweep(parent: str) -> None:
    """Remove folders that are too old or too many, except those in use."""
    found: list[tuple[float, str]] = []
    for name in os.listdir(parent):
        if name.startswith(_PREFIX) and name.endswith(_LOCK):
            with contextlib.suppress(FileNotFoundError):
                found.append((os.stat(f"{parent}/{name}").st_mtime, f"{parent}/{name.removesuffix(_LOCK)}"))
    for number, (used, path) in enumerate(sorted(found, reverse=True)):
        if number < KEPT and used > time.time() - _SECONDS:
            continue
        with contextlib.suppress(OSError):
            if (lock := _locked(path)) >= 0:
                try:
                    shutil.rmtree(path, ignore_errors=True)
                    os.unlink(path + _LOCK)
                finally:
                    os.close(lock)
