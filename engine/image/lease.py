"""Who may remove: content that nothing refers to yet is protected from the garbage collector by a lock.

Whoever adds content (pull, build, import) holds the lock shared from the first byte until the image is recorded; the
collector needs it alone (flock(2) on <state>/images.lock). The kernel lets go of it when a process dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from engine.errors import OperationFailed
from engine.paths import Roots, make_private


@contextlib.contextmanager
def adding(roots: Roots) -> Iterator[None]:
    """Hold while content is added; any number at once. Waits for a collector at work."""
    with _locked(roots, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def collecting(roots: Roots) -> Iterator[bool]:
    """Hold while content is removed; gives False, without waiting, when somebody is adding."""
    try:
        with _locked(roots, fcntl.LOCK_EX | fcntl.LOCK_NB):
            yield True
    except BlockingIOError:
        yield False


@contextlib.contextmanager
def _locked(roots: Roots, operation: int) -> Iterator[None]:
    path = f"{roots.state}/images.lock"
    try:
        make_private(roots.state)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OperationFailed.of("open", path, error) from error
    try:
        fcntl.flock(fd, operation)
        yield
    finally:
        os.close(fd)
