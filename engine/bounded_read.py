"""Read files named by users, with a size limit, because a device or a pipe may never end."""

from __future__ import annotations

import os

from engine.errors import InvalidSpec

MIB = 1 << 20


def read_bytes(path: str, limit: int, subject: str, *, dir_fd: int | None = None) -> bytes:
    """The content of `path`; errors call it `subject` ("a seccomp profile"). Raises OSError, and InvalidSpec if it is too
    long."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    with os.fdopen(fd, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise InvalidSpec(f"{path} has more than {limit} bytes, the limit for {subject}")
    return data
