"""A container's changes to its image's files, read from its upper layer (`docker diff`)."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from engine.errors import OperationFailed
from engine.filetree.descent import DIRECTORY, Descent
from engine.image.images import ImageStore
from engine.image.layer import overlay
from engine.image.merged import merged
from engine.spec.state import ContainerRecord

MODIFIED, ADDED, DELETED = "modified", "added", "deleted"


def changes(images: ImageStore, record: ContainerRecord) -> list[tuple[str, str]]:
    """(path, kind) by path. A directory counts as modified when something in it was changed. OperationFailed."""
    roots = images.store.roots
    layers = [f"{roots.layers}/{layer}/diff" for layer in images.need(record.spec.image).layers]
    upper = f"{roots.container(record.group, record.id)}/upper"
    try:
        with contextlib.ExitStack() as stack:
            try:
                top = os.open(upper, DIRECTORY)
            except FileNotFoundError:  # it was never started
                return []
            stack.callback(os.close, top)
            below = stack.enter_context(merged(layers)) if layers else -1
            return sorted(_Comparison(top, below).run())
    except OSError as error:
        raise OperationFailed.of("read the changes of", record.spec.name, error) from error


class _Comparison:
    """A walk through the upper layer, and in parallel through the same directories of the lower layers."""

    def __init__(self, upper: int, lower: int) -> None:
        self._upper, self._lower = Descent(upper), Descent(lower) if lower >= 0 else None
        self._shared = 0 if lower >= 0 else -1
        """How many levels of the current path also exist in the image."""
        self._paths: list[str] = []
        """The path of the current directory, after those above it, without the root's."""
        self._found: dict[str, str] = {}

    def run(self) -> Iterator[tuple[str, str]]:
        levels = [iter(os.listdir(self._upper.fd))]
        with self._upper, self._lower or contextlib.nullcontext():
            while levels:
                name = next(levels[-1], None)
                if name is not None:
                    with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # removed or replaced meanwhile
                        if self._look(name):
                            levels.append(iter(os.listdir(self._enter(name))))
                    continue
                levels.pop()
                if levels:
                    self._leave()
        return iter(self._found.items())

    def _look(self, name: str) -> bool:
        """Record the change of one entry. Returns whether to descend into it."""
        status = os.stat(name, dir_fd=self._upper.fd, follow_symlinks=False)
        before = self._before(name)
        folder = stat.S_ISDIR(status.st_mode)
        if overlay.is_whiteout(status):
            if before is not None:
                self._note(name, DELETED)
        elif before is None:
            self._note(name, ADDED)
        elif not (folder and stat.S_ISDIR(before.st_mode) and before.st_mtime_ns == status.st_mtime_ns):
            self._note(name, MODIFIED)
        return folder

    def _before(self, name: str) -> os.stat_result | None:
        """The image's entry of this name in the current directory."""
        if self._lower is None or self._shared < len(self._paths):
            return None
        try:
            return os.stat(name, dir_fd=self._lower.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _note(self, name: str, kind: str) -> None:
        for above in reversed(self._paths):
            if above in self._found:
                break
            self._found[above] = MODIFIED
        self._found[self._path(name)] = kind

    def _path(self, name: str) -> str:
        return f"{self._paths[-1] if self._paths else ''}/{name}"

    def _enter(self, name: str) -> int:
        fd = self._upper.enter(name)
        if self._lower is not None and self._shared == len(self._paths) and not overlay.is_opaque(os.listxattr(fd)):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self._lower.enter(name)
                self._shared += 1
        self._paths.append(self._path(name))
        return fd

    def _leave(self) -> None:
        self._upper.leave()
        if self._lower is not None and self._shared == len(self._paths):
            self._lower.leave()
            self._shared -= 1
        self._paths.pop()
