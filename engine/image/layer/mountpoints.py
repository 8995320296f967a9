"""The lowest layer of every container: mount points and links that an image may lack.

Without it each container would create them in its upper directory, which takes longer than all of its mounts.
"""

from __future__ import annotations

import contextlib
import os

from engine.errors import OperationFailed
from engine.filetree.remove import remove as remove_tree

NAME = "mountpoints"
"""Its folder below <state>/layers. It is no image's."""
FOLDERS = ("dev", "proc", "sys")
FILES = ("etc/hosts", "etc/hostname", "etc/resolv.conf")
LINKS = (("etc/mtab", "/proc/mounts"),)
"""The same links as in Docker; a file of that name in the image covers the link."""
MARK = ".dockerenv"
"""An empty file as in Docker, by which programs recognise that they run in a container."""


def ensure(layers: str) -> str:
    """Create the layer below the directory `layers` unless it exists; returns its relative path. Raises OperationFailed."""
    path = f"{layers}/{NAME}"
    if not os.path.lexists(f"{path}/diff/{MARK}"):
        try:
            if not os.path.isdir(path):
                _create(path, f"{layers}/.draft-{os.urandom(8).hex()}")
            _complete(f"{path}/diff")  # a layer that an earlier version created lacks some
        except OSError as error:
            raise OperationFailed.of("create the layer", path, error) from error
    return f"{NAME}/diff"


def _create(path: str, draft: str) -> None:
    os.mkdir(draft, 0o700)
    try:
        for folder in ("", "etc", *FOLDERS):
            os.mkdir(f"{draft}/diff/{folder}")
            os.chmod(f"{draft}/diff/{folder}", 0o755)
        for file in FILES:
            with open(f"{draft}/diff/{file}", "xb") as made:
                os.fchmod(made.fileno(), 0o644)
        _complete(f"{draft}/diff")
        os.rename(draft, path)
    except OSError:
        remove_tree(draft)
        if not os.path.isdir(path):  # created concurrently
            raise


def _complete(folder: str) -> None:
    for name, target in LINKS:
        with contextlib.suppress(FileExistsError):
            os.symlink(target, f"{folder}/{name}")
    with contextlib.suppress(FileExistsError), open(f"{folder}/{MARK}", "xb") as made:
        os.fchmod(made.fileno(), 0o755)
