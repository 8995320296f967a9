"""The lowest layer of every container: mount points that an image may lack.

Without it each container would create them in its upper directory, which takes longer than all of its mounts.
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
    """Create the layer below the directory `layers` unless it exists; returns its relative path. Raises OperationFailed."""
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
                if not os.path.isdir(path):  # created concurrently
                    raise
        except OSError as error:
            raise OperationFailed.of("create the layer", path, error) from error
    return f"{NAME}/diff"
