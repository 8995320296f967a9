"""Open mount targets inside a root directory, and create missing ones. openat2(2) resolves each path inside the root,
whatever links an image contains.
"""

from __future__ import annotations

import os

from engine.keeper.child.direct import LEVELS
from engine.kernel import flags

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.keeper.child.kernel import Kernel

_FOLDER = flags.O_PATH | os.O_DIRECTORY


def directory(kernel: Kernel, root: int, path: str, mode: int = 0o755, levels: int = LEVELS) -> int:
    """Open the directory; create it and its parents if missing. `levels` limits the directories created and the links
    followed.
    """

    def create(parent: int, name: str) -> None:
        kernel.mkdir(name, mode, folder=parent)

    return _open(kernel, root, path, _FOLDER, create, levels)


def regular(kernel: Kernel, root: int, path: str, mode: int, levels: int = LEVELS) -> int:
    """Open the file; create it, empty, and its parents if missing. `levels` as for `directory`."""

    def create(parent: int, name: str) -> None:
        kernel.close(kernel.create(parent, name, mode, how=os.O_NOFOLLOW))

    return _open(kernel, root, path, flags.O_PATH, create, levels)


def _open(kernel: Kernel, root: int, path: str, how: int, create: Callable[[int, str], None], levels: int) -> int:
    above, _, name = path.rstrip("/").rpartition("/")

    def make() -> None:
        parent = directory(kernel, root, above or "/", levels=levels - 1)
        try:
            create(parent, name)
        except FileExistsError:
            behind = _behind(above, parent, name)
            if behind is not None:
                kernel.close(_open(kernel, root, behind, how, create, levels - 1))
        finally:
            kernel.close(parent)

    return kernel.open_or_make(root, path, how, make if name and levels else None)


def _behind(above: str, parent: int, name: str) -> str | None:
    """The target of the dangling link `name`; None if it is not a link. The caller still resolves the result inside the
    root.
    """
    try:
        target = os.readlink(name, dir_fd=parent)
    except OSError:
        return None
    return target if target.startswith("/") else f"{above}/{target}"
