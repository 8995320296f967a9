"""Writing into new directories of an image without passing overlayfs."""

from __future__ import annotations

import os

from engine.filetree.long_path import open_below
from engine.image.tree import Tree


class NewDirectory:
    """The new directory of `root` that files are being copied into, as the overlay's upper directory has it; a context
    manager. No lower layer has anything to show in such a directory, so writing past overlayfs leaves the same, in half the
    time. The overlay must not have been asked for names in it before (Documentation/filesystems/overlayfs.rst, "Changes to
    underlying filesystems")."""

    def __init__(self, root: Tree) -> None:
        self._root = root
        self._prefix = ""
        self._tree: Tree | None = None

    def __enter__(self) -> NewDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        if self._tree is not None:
            self._tree.close()
            os.close(self._tree.root)
            self._tree = None

    def begin(self, path: str) -> None:
        """The directory at `path` has just been made. One below another new one changes nothing."""
        if self._root.upper < 0 or self.below(path):
            return
        self.__exit__()
        try:
            # Without links: a path that leads through one is elsewhere in the upper directory.
            fd = open_below(self._root.upper, path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return
        self._tree, self._prefix = Tree(fd, self._root.name), f"{path}/"

    def below(self, path: str) -> tuple[int, str] | None:
        """The descriptor of the directory that is to hold `path`, and its name; None if it is not in a new directory."""
        if self._tree is None or not path.startswith(self._prefix):
            return None
        return self._tree.parent(path[len(self._prefix) :])
