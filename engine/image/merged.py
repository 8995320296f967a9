"""The root that a stack of layers makes, as a descriptor: an overlay mount that is in no mount namespace.

Nobody else can see it or name a path in it, and it is gone with the descriptor, also when we are killed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from engine.errors import OperationFailed
from engine.image.layer import overlay
from engine.image.openat2 import fsconfig, fsmount, fsopen

_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_PATH = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@contextlib.contextmanager
def merged(lower: Sequence[str], upper: str = "", work: str = "") -> Iterator[int]:
    """Mount `lower` (folders, lowest first), with `upper` and `work` when it is to be written to. Raises OperationFailed.

    A single folder without an upper needs no mount and is opened as it is.
    """
    folders = list(reversed(lower))
    if not upper and len(folders) == 1:
        fd = _open(folders[0])
    elif upper and not folders:
        fd = _open(upper)
    else:
        fd = _mount(folders, upper, work)
    try:
        yield fd
    finally:
        os.close(fd)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise OperationFailed.of("open layer", path, error) from error


def _mount(folders: Sequence[str], upper: str, work: str) -> int:
    """`folders` highest first. They are named by descriptor, since a mount option has at most 255 bytes."""
    with contextlib.ExitStack() as stack:

        def named(path: str) -> str:
            fd = os.open(path, _PATH)
            stack.callback(os.close, fd)
            return f"/proc/self/fd/{fd}"

        try:
            context = fsopen("overlay")
            stack.callback(os.close, context)
            fsconfig(context, _SET_STRING, "source", "overlay")
            for option in ("index", "metacopy", "redirect_dir"):
                with contextlib.suppress(OSError):
                    fsconfig(context, _SET_STRING, option, "off")
            if overlay.xattr_prefix().startswith("user."):
                fsconfig(context, _SET_FLAG, "userxattr", None)
            for folder in folders:
                fsconfig(context, _SET_STRING, "lowerdir+", named(folder))
            if upper:
                fsconfig(context, _SET_STRING, "upperdir", named(upper))
                fsconfig(context, _SET_STRING, "workdir", named(work))
            fsconfig(context, _CREATE, None, None)
            return fsmount(context)
        except OSError as error:
            raise OperationFailed.of("mount overlay of", f"{len(folders)} layers", error) from error
