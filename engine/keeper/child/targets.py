"""Places inside a root directory, opened and made where they are missing.

Each is resolved inside the root by openat2(2), never by string, whatever links an image has on the way.
"""

from __future__ import annotations

import os

from engine.keeper.child.direct import LEVELS
from engine.kernel import flags

TYPE_CHECKING = False  # of typing, which a keeper need not load
if TYPE_CHECKING:
    from engine.keeper.child.kernel import Kernel

_FOLDER = flags.O_PATH | os.O_DIRECTORY


def directory(kernel: Kernel, root: int, path: str, mode: int = 0o755, levels: int = LEVELS) -> int:
    """Open the directory, making what is missing: at most `levels` of directories and links that lead to them."""
    above, _, name = path.rstrip("/").rpartition("/")

    def make() -> None:
        parent = directory(kernel, root, above or "/", levels=levels - 1)
        try:
            kernel.mkdir(name, mode, folder=parent)
        except FileExistsError:
            behind = _behind(above, parent, name)
            if behind is not None:
                kernel.close(directory(kernel, root, behind, mode, levels - 1))
        finally:
            kernel.close(parent)

    return kernel.open_or_make(root, path, _FOLDER, make if name and levels else None)


def regular(kernel: Kernel, root: int, path: str, mode: int, levels: int = LEVELS) -> int:
    """Open the file, made empty when it is missing, with what is missing above it; `levels` as for `directory`."""
    above, _, name = path.rpartition("/")

    def make() -> None:
        parent = directory(kernel, root, above or "/", levels=levels - 1)
        try:
            kernel.close(kernel.create(parent, name, mode, how=os.O_NOFOLLOW))
        except FileExistsError:
            behind = _behind(above, parent, name)
            if behind is not None:
                kernel.close(regular(kernel, root, behind, mode, levels - 1))
        finally:
            kernel.close(parent)

    return kernel.open_or_make(root, path, flags.O_PATH, make if levels else None)


def _behind(above: str, parent: int, name: str) -> str | None:
    """Where the link `name` leads, which is a place that does not exist yet; None for what is no link.

    What is there when the path is opened is still looked up inside the root.
    """
    try:
        target = os.readlink(name, dir_fd=parent)
    except OSError:
        return None
    return target if target.startswith("/") else f"{above}/{target}"
