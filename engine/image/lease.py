"""A lock that protects new content from the garbage collector until something refers to it.

An operation that adds content (pull, build, import) holds the lock shared from the first byte until the image is recorded; the
collector needs it exclusively (flock(2) on <state>/images.lock). The kernel releases it when a process dies.
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
    """Hold the lock while content is added; any number of holders at once. Waits for a running collector."""
    with _locked(roots, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def collecting(roots: Roots) -> Iterator[bool]:
    """Hold the lock while content is removed; yields False, without waiting, while content is being added."""
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
