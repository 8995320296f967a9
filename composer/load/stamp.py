"""The state of a file, by which a later reader sees whether it has changed."""

from __future__ import annotations

import os

Stamp = tuple[int, int, int]
"""Size in bytes, modification time in ns, and inode."""


def stamp(path: str) -> Stamp | None:
    """The state of the file; None if it does not exist or cannot be examined."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino
