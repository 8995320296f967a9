"""The host's side of cp: archive a local tree, and unpack a container's archive. The archive is not trusted: its names
stay inside the target folder, even through links. Unless attributes are requested, files belong to the caller, and
set-id bits, file capabilities and devices are left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from engine.container.export import Writer
from engine.errors import NotFound, OperationFailed
from engine.image.layer.compression import chunks
from engine.image.layer.pack import pack_open
from engine.image.layer.unpack import unpack


def pack_local(path: str, label: str, output: int, *, follow: bool = False) -> None:
    """See composer.run.port.Streams.pack_local."""
    try:
        found = os.open(path, os.O_PATH | os.O_CLOEXEC | (0 if follow or path.endswith("/") else os.O_NOFOLLOW))
    except FileNotFoundError as error:
        raise NotFound("file or directory", path) from error
    except OSError as error:
        raise OperationFailed.of("open", path, error) from error
    try:
        pack_open(found, label, Writer(output))
    finally:
        os.close(found)


def unpack_local(source: int, folder: str, rename: Callable[[str], str], *, archive: bool = False) -> list[str]:
    """See composer.run.port.Streams.unpack_local."""
    try:
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise OperationFailed.of("open", folder, error) from error
    file = open(source, "rb", closefd=False)
    try:
        owner = None if archive else (os.geteuid(), os.getegid())
        done = unpack(
            chunks(file, f"the archive for {folder}"),
            root,
            f"the archive for {folder}",
            layer=False,
            owner=owner,
            plain=not archive,
            rename=rename,
        )
        return done.left_out
    finally:
        file.close()
        os.close(root)
