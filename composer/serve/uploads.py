"""Temporary folders for contexts and secrets that build clients send; removed after the build.

The server locks its folders (flock(2)), so that the next one can find and remove those of a killed server.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator

from engine.paths import Roots

_PREFIX = ".upload-"


@contextlib.contextmanager
def folder(roots: Roots) -> Iterator[str]:
    """A new folder that only its owner can enter; removed at the end of the block."""
    path, lock = _locked(f"{roots.cache}/build")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _locked(parent: str) -> tuple[str, int]:
    while True:
        path = f"{parent}/{_PREFIX}{secrets.token_hex(8)}"
        os.makedirs(path, mode=0o700)
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(path):
            return path, lock
        os.close(lock)  # a server that started concurrently took it for a folder of a killed server


def sweep(roots: Roots) -> None:
    """Remove the folders of servers that were killed."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(f"{roots.cache}/build"):
            if not name.startswith(_PREFIX):
                continue
            with contextlib.suppress(OSError):
                path = f"{roots.cache}/build/{name}"
                lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(lock)
