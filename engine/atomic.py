"""Atomic replacement of files: readers see either the old or the new content. Standard library only."""

from __future__ import annotations

import contextlib
import os

from engine.poll import write_all

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def draft_of(path: str) -> Iterator[str]:
    """A path beside `path`, for the block to write a file to: it replaces `path` at the end, and is removed if the block
    raises. Raises OSError."""
    draft = _beside(path)
    try:
        yield draft
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise


def replace(path: str, data: bytes, *, durable: bool = False, keep_owner: bool = False) -> None:
    """Replace the file at `path`, or create it. If it raises OSError, nothing has changed.

    The file is private (0600), or with `keep_owner` has the owner and mode of the one before. `durable`: the content is
    on disk before the file gets its name.
    """
    draft = _beside(path)
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


def _beside(path: str) -> str:
    return f"{path}.new-{os.urandom(4).hex()}"


def _inherit(fd: int, path: str) -> None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(fd, status.st_uid, status.st_gid)
    os.fchmod(fd, status.st_mode & 0o7777)
