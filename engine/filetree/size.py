"""The size of a directory tree that a container may change meanwhile: of any depth, and never outside it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from engine.filetree.descent import DIRECTORY, Descent


def tree_size(folder: str) -> int:
    """Bytes of the files below a directory; each file is counted once. 0 if it does not exist. What a running container
    moves or removes meanwhile may be missing. Raises OSError if `folder` cannot be read."""
    try:
        root = os.open(folder, DIRECTORY)
    except FileNotFoundError:
        return 0
    try:
        return sum(_files(root))
    finally:
        os.close(root)


def _files(root: int) -> Iterator[int]:
    seen: set[tuple[int, int]] = set()
    with Descent(root) as walk:
        levels = [iter(os.listdir(root))]
        while levels:
            name = next(levels[-1], None)
            try:
                if name is None:
                    levels.pop()
                    if levels:
                        walk.leave()
                    continue
                status = os.stat(name, dir_fd=walk.fd, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    levels.append(iter(os.listdir(walk.enter(name))))
                elif status.st_nlink < 2:
                    yield status.st_size
                elif (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    yield status.st_size
            except OSError:
                if name is None:  # the way back is lost, because the directory was moved
                    return
