"""Atomic replacement of files: readers see either the old or the new content. Standard library only."""

from __future__ import annotations

import os

from engine.poll import write_all


def replace(path: str, data: bytes, *, durable: bool = False, keep_owner: bool = False) -> None:
    """Replace the file at `path`, or create it. If it raises OSError, nothing has changed.

    The file is private (0600), or with `keep_owner` has the owner and mode of the one before. `durable`: the content is
    on disk before the file gets its name.
    """
    draft = f"{path}.new-{os.urandom(4).hex()}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            if keep_owner:
                _inherit(fd, path)
            write_all(fd, data)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def _inherit(fd: int, path: str) -> None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(fd, status.st_uid, status.st_gid)
    os.fchmod(fd, status.st_mode & 0o7777)
