"""What a container runtime must create to mount upon is no part of the image: found before a RUN, removed after it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable

from engine.image.tree import Tree, clean

_ALWAYS = ("dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", "run/secrets")


class Stubs:
    """The places that do not exist in `root` now, so that empty files and directories there are not the process's."""

    def __init__(self, root: Tree, targets: Iterable[str], working_dir: str) -> None:
        places: set[str] = set()
        for target in (*_ALWAYS, *targets, working_dir):
            path = clean(target.strip("/")) or ""
            while path and root.lstat(path) is None:
                places.add(path)
                path = path.rpartition("/")[0]
        # Deepest first, so that a directory is empty when its turn comes.
        self._places = sorted(places, key=lambda path: -path.count("/"))

    def remove(self, upper: int) -> None:
        """Remove those that are still empty from the layer open as `upper`."""
        with Tree(upper, "the layer") as tree:
            for path in self._places:
                status = tree.lstat(path)
                if status is None:
                    continue
                parent, name = tree.parent(path)
                with contextlib.suppress(OSError):  # a directory that is not empty is the image's
                    if stat.S_ISDIR(status.st_mode):
                        os.rmdir(name, dir_fd=parent)
                    elif stat.S_ISREG(status.st_mode) and status.st_size == 0:
                        os.unlink(name, dir_fd=parent)
