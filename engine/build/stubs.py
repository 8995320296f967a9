"""Mount points of a RUN that the image lacks: those of its mounts are removed after it, because they do not belong to the
image; /dev, /proc and /sys stay, as BuildKit leaves them."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable

from engine.errors import OperationFailed
from engine.image.layer import mountpoints, overlay
from engine.image.tree import Tree

_LINKS = 255
_ALWAYS = (*mountpoints.FILES, "run/secrets")


class Stubs:
    """The places that do not exist in `root` now, so that empty files and directories there do not come from the
    process.

    Creating them copies the directories above into the layer; copies without other changes are removed as well.
    """

    def __init__(self, root: Tree, targets: Iterable[str], working_dir: str) -> None:
        places: set[str] = set()
        above: dict[str, os.stat_result] = {}
        for target in (*_ALWAYS, *targets, working_dir):
            path = _resolved(root, target)
            while path and (status := root.lstat(path)) is None:
                places.add(path)
                path = path.rpartition("/")[0]
            while path and (status := root.lstat(path)) is not None:
                above[path] = status
                path = path.rpartition("/")[0]
        self._kept = [name for name in mountpoints.FOLDERS if root.lstat(name) is None]
        # Deepest first, so that a directory is empty when its turn comes.
        self._places = sorted(places, key=_depth)
        self._above = sorted(above.items(), key=lambda item: _depth(item[0]))

    def settle(self, upper: int) -> None:
        """Remove the stubs that are still empty from the layer open as `upper`, and add those that stay: containers have
        them in a layer of their own."""
        with Tree(upper, "the layer") as tree:
            for name in self._kept:
                tree.directory(name, lambda fd, path: None)
            for path in self._places:
                status = tree.lstat(path)
                if status and (stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and not status.st_size)):
                    _drop(tree, path, status)
            for path, before in self._above:
                status = tree.lstat(path)
                if status and stat.S_ISDIR(status.st_mode) and _same(status, before) and not _is_opaque(tree, path):
                    _drop(tree, path, status)


def _resolved(root: Tree, target: str) -> str:
    """The path at which the runtime mounts: without links, as far as it exists. Raises OperationFailed for a loop."""
    pending = target.split("/")[::-1]
    path, links = "", 0
    while pending:
        part = pending.pop()
        if part == "..":
            path = path.rpartition("/")[0]
        if part in ("", ".", ".."):
            continue
        found = f"{path}/{part}".lstrip("/")
        status = root.lstat(found)
        if status is None or not stat.S_ISLNK(status.st_mode):
            path = found
            continue
        links += 1
        if links > _LINKS:
            raise OperationFailed.of("mount on", target, OSError(errno.ELOOP, os.strerror(errno.ELOOP)))
        parent, name = root.parent(found)
        link = os.readlink(name, dir_fd=parent)
        path = "" if link.startswith("/") else path
        pending += link.split("/")[::-1]
    return path


def _depth(path: str) -> int:
    return -path.count("/")


def _drop(tree: Tree, path: str, status: os.stat_result) -> None:
    parent, name = tree.parent(path)
    with contextlib.suppress(OSError):  # a directory that is not empty is the image's
        if stat.S_ISDIR(status.st_mode):
            os.rmdir(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)


def _same(status: os.stat_result, before: os.stat_result) -> bool:
    return (status.st_mode, status.st_uid, status.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def _is_opaque(tree: Tree, path: str) -> bool:
    """Whether the directory hides the one below it, because it was removed and created again."""
    fd = tree.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        return overlay.is_opaque(os.listxattr(fd))
    finally:
        os.close(fd)
