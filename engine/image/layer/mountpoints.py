"""The lowest layer of every container: the places that something is always mounted at, for images that have none.

Without it each container makes them in its upper directory, which costs more than all of its mounts.
"""

from __future__ import annotations

import os

from engine.errors import OperationFailed
from engine.filetree.remove import remove as remove_tree

NAME = "mountpoints"
"""Its folder below <state>/layers. It is no image's."""
FOLDERS = ("dev", "proc", "sys")
FILES = ("etc/hosts", "etc/hostname", "etc/resolv.conf")


def ensure(layers: str) -> str:
    """Make the layer below the folder `layers` unless it is there; its path from there. Raises OperationFailed."""
    path = f"{layers}/{NAME}"
    if not os.path.isdir(path):
        try:
            draft = f"{layers}/.draft-{os.urandom(8).hex()}"
            os.mkdir(draft, 0o700)
            try:
                for folder in ("", "etc", *FOLDERS):
                    os.mkdir(f"{draft}/diff/{folder}")
                    os.chmod(f"{draft}/diff/{folder}", 0o755)
                for file in FILES:
                    with open(f"{draft}/diff/{file}", "xb") as made:
                        os.fchmod(made.fileno(), 0o644)
                os.rename(draft, path)
            except OSError:
                remove_tree(draft)
                if not os.path.isdir(path):  # by somebody else, meanwhile
                    raise
        except OSError as error:
            raise OperationFailed.of("create the layer", path, error) from error
    return f"{NAME}/diff"
