"""Paths that are longer than the kernel accepts."""

from __future__ import annotations

import os

from engine.errors import OperationFailed
from engine.kernel import calls, flags

_PATH_MAX = 4096
"""The longest path in bytes, including the final NUL (path_resolution(7))."""
_BENEATH = flags.RESOLVE_BENEATH | flags.RESOLVE_NO_SYMLINKS


def open_below(root: int, path: str, how: int) -> int:
    """Open `path`, of any length, below `root`; no component may be a link or "..". Raises OSError."""
    fd, parts = root, path.split("/")
    try:
        while True:
            first = _fitting(parts)
            rest = parts[first:]
            bits = flags.O_PATH | os.O_DIRECTORY if rest else how
            try:
                deeper = calls.openat2(fd, "/".join(parts[:first]) or ".", bits, resolve=_BENEATH)
            except OperationFailed as error:
                raise OSError(error.errno, os.strerror(error.errno), path) from error
            if fd != root:
                os.close(fd)
            fd, parts = deeper, rest
            if not rest:
                return fd
    except BaseException:
        if fd != root:
            os.close(fd)
        raise


def is_long(path: str) -> bool:
    """Whether `path` is too long for a single look-up by the kernel."""
    return len(path) * 4 >= _PATH_MAX and len(os.fsencode(path)) >= _PATH_MAX


def _fitting(parts: list[str]) -> int:
    """How many of the components form a path that the kernel accepts."""
    size = 0
    for number, part in enumerate(parts):
        size += len(os.fsencode(part)) + 1
        if size > _PATH_MAX:
            return max(number, 1)
    return len(parts)
