"""Remove hostile trees: of any depth, with any names and attributes."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from engine.filetree.descent import DIRECTORY, Descent
from engine.filetree.inode_flags import thaw


def remove(path: str) -> None:
    """Remove `path` with all below it, without following links; does nothing if it does not exist. Raises OSError."""
    above, name = os.path.split(path.rstrip("/"))
    with contextlib.suppress(FileNotFoundError):
        parent = os.open(above or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_at(parent, name)
        finally:
            os.close(parent)


def remove_at(parent: int, name: str) -> None:
    """Remove `name` in the directory `parent`, with all below it and following no links. Raises OSError."""
    if not _unlink(parent, name):
        _remove_tree(parent, name)


def clear(folder: int) -> None:
    """Remove everything in the directory `folder`. Raises OSError."""
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            remove_at(folder, name)


def _remove_tree(parent: int, name: str) -> None:
    with Descent(parent) as walk:
        levels = [(name, _entries(walk.enter(name)))]
        while levels:
            here, entries = levels[-1]
            below = next(entries, None)
            if below is None:
                levels.pop()
                walk.leave()
                _rmdir(walk.fd, here)
                continue
            # It was removed or replaced meanwhile by another command that removes the same tree.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                levels.append((below, _entries(walk.enter(below))))


def _entries(folder: int) -> Iterator[str]:
    """Unlink everything except directories in `folder`, and return the names of the directories."""
    with os.scandir(folder) as found:
        listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    directories = []
    for name, is_directory in listed:
        with contextlib.suppress(FileNotFoundError):
            if is_directory or not _unlink(folder, name):
                directories.append(name)
    return iter(directories)


def _unlink(parent: int, name: str) -> bool:
    """False if `name` is a directory."""
    try:
        os.unlink(name, dir_fd=parent)
    except IsADirectoryError:
        return False
    except PermissionError:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            return False
        _thaw(parent, name if stat.S_ISREG(status.st_mode) else "")
        os.unlink(name, dir_fd=parent)
    return True


def _rmdir(parent: int, name: str) -> None:
    try:
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(name, dir_fd=parent)
    except PermissionError:
        _thaw(parent, name)
        os.rmdir(name, dir_fd=parent)


def _thaw(parent: int, name: str) -> None:
    """Clear chattr(1)'s "immutable" and "append only" on `name` and on its directory."""
    for path, how in ((".", DIRECTORY), (name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)):
        if not path:
            continue
        fd = os.open(path, how, dir_fd=parent)
        try:
            thaw(fd)
        finally:
            os.close(fd)
