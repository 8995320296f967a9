"""A build context as the folders of an overlay, so that a RUN can see it without a copy.

<context>                     as it is
<cache>/build/.mask-<random>  a whiteout for each thing that .dockerignore hides
<cache>/build/empty           instead, when nothing is hidden

The upper one gives the root directory its attributes, which BuildKit does not take from the context.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from typing import TYPE_CHECKING

from engine.errors import OperationFailed
from engine.filetree.remove import remove
from engine.image.layer import overlay
from engine.image.merged import merged
from engine.image.tree import Tree
from engine.paths import make_seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.build.context import Item, SourceTree


def layers(tree: SourceTree, path: str, folder: str, stack: contextlib.ExitStack) -> tuple[str, ...] | None:
    """The directories of an overlay that shows `tree`, the directory `path`; `stack` removes what is created in
    `folder`.

    None if that is impossible: all files must belong to root, and not every file system can be below an overlay.
    """
    items = tree.everything()
    if any(item.status.st_uid or item.status.st_gid for item in items):
        return None
    try:
        upper = (_mask(tree, items, folder, stack) if tree.ignore else "") or empty(folder)
        found = (os.path.abspath(path), upper)
        with merged(found):
            return found
    except OperationFailed:
        return None


def empty(folder: str) -> str:
    """The empty directory in `folder`."""
    path = f"{folder}/empty"
    make_seen(path)
    return path


def _mask(tree: SourceTree, items: tuple[Item, ...], folder: str, stack: contextlib.ExitStack) -> str:
    """A directory with the whiteouts, "" if nothing is hidden."""
    visible = {item.path for item in items}
    hidden = [
        f"{item.path}/{name}".lstrip("/")
        for item in items
        if stat.S_ISDIR(item.status.st_mode)
        for name in tree.names(item.path)
        if f"{item.path}/{name}".lstrip("/") not in visible
    ]
    if not hidden:
        return ""
    path = f"{folder}/.mask-{secrets.token_hex(8)}"
    os.mkdir(path, 0o755)
    stack.callback(remove, path)
    status = {item.path: item.status for item in items}
    root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchmod(root, 0o755)
        with Tree(root, path) as masks:
            for name in hidden:
                parent, last = masks.parent(name, _like(masks, name, status))
                overlay.make_whiteout(parent, last)
    finally:
        os.close(root)
    return path


def _like(masks: Tree, name: str, status: dict[str, os.stat_result]) -> Callable[[int, str], None]:
    """Give each directory created above the whiteout `name` the mode of the one that it covers."""
    made = iter([name[:at] for at, char in enumerate(name) if char == "/"])
    new = [place for place in made if masks.lstat(place) is None]

    def attributes(parent: int, last: str) -> None:
        fd = os.open(last, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        os.fchmod(fd, stat.S_IMODE(status[new.pop(0)].st_mode))
        os.close(fd)

    return attributes
