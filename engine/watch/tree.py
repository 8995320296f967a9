"""Changed files below directories."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress

from engine.errors import OperationFailed
from engine.kernel import inotify

MASK = (
    inotify.IN_CLOSE_WRITE | inotify.IN_CREATE | inotify.IN_DELETE | inotify.IN_MOVED_FROM | inotify.IN_MOVED_TO
    | inotify.IN_ATTRIB
)  # fmt: skip


class TreeWatch:
    """Watches files and directory trees; `skip` selects directories to skip, by absolute path.

    A file is watched through its directory, so that replacements by editors are noticed. For a missing path, the
    nearest existing directory above it is watched until the path exists.
    """

    def __init__(self, paths: Iterable[str], *, skip: Callable[[str], bool] = lambda path: False) -> None:
        self._inotify = inotify.Inotify()
        self._folders: dict[int, str] = {}
        self._files: set[str] = set()
        self._roots: set[str] = set()
        self._awaited: set[str] = set()
        self._skip = skip
        try:
            for path in paths:
                if os.path.isdir(path):
                    self._roots.add(path)
                    self._enter(path)
                elif not os.path.lexists(path):
                    self._awaited.add(path)
                    self._approach(path)
                else:
                    self._files.add(path)
                    self._folders[self._inotify.add(os.path.dirname(path), MASK | inotify.IN_ONLYDIR)] = (
                        os.path.dirname(path)
                    )
        except OperationFailed:
            self._inotify.close()
            raise

    def fileno(self) -> int:
        return self._inotify.fileno()

    def read(self) -> set[str]:
        """Absolute paths that were written, created, moved or removed since the last call. Never blocks."""
        changed: set[str] = set()
        for number, mask, name in self._inotify.read():
            if mask & inotify.IN_Q_OVERFLOW:
                changed |= self._roots | self._files
            elif mask & inotify.IN_IGNORED:
                self._folders.pop(number, None)
            elif number in self._folders:
                path = os.path.join(self._folders[number], name) if name else self._folders[number]
                changed |= self._arrived(path)
                if mask & inotify.IN_ISDIR and mask & (inotify.IN_CREATE | inotify.IN_MOVED_TO):
                    changed |= self._enter(path) if self._within(path) else set()
                elif not mask & inotify.IN_ISDIR and (path in self._files or self._within(path)):
                    changed.add(path)
                elif mask & (inotify.IN_DELETE | inotify.IN_MOVED_FROM) and self._within(path):
                    changed.add(path)
        return changed

    def _approach(self, path: str) -> None:
        """Watch the nearest directory above a missing path."""
        folder = os.path.dirname(path)
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        if folder not in self._folders.values():
            self._folders[self._inotify.add(folder, MASK | inotify.IN_ONLYDIR)] = folder

    def _arrived(self, made: str) -> set[str]:
        """What has come with `made` where a path is awaited that it is, or leads to."""
        found: set[str] = set()
        for path in sorted(self._awaited):
            if path != made and not path.startswith(f"{made}/"):
                continue
            if not os.path.lexists(path):
                self._approach(path)
                if not os.path.lexists(path):
                    continue  # otherwise it was created meanwhile
            self._awaited.discard(path)
            if os.path.isdir(path):
                self._roots.add(path)
                found |= self._enter(path)
            else:
                self._files.add(path)
                self._approach(path)
                found.add(path)
        return found

    def _within(self, path: str) -> bool:
        return any(path == root or path.startswith(root + "/") for root in self._roots)

    def _enter(self, folder: str) -> set[str]:
        """Watch a directory and those below. Returns them and the files in them, which may have been created before the
        watch."""
        found: set[str] = set()
        if self._skip(folder):
            return found
        found.add(folder)
        with suppress(FileNotFoundError):
            try:
                self._folders[self._inotify.add(folder, MASK | inotify.IN_ONLYDIR)] = folder
            except OperationFailed as error:
                if error.errno in (2, 20):  # ENOENT, ENOTDIR: it was removed again
                    return found
                raise
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        found |= self._enter(entry.path)
                    else:
                        found.add(entry.path)
        return found

    def close(self) -> None:
        self._inotify.close()
