"""Copies an image's files at a mount point into the empty volume that is first mounted there (Docker's copy-up).

The copy is made beside the volume's folder, where no container sees it, and moved in when it is complete:

    <volume>/.copying       unfinished: removed and begun again
    <volume>/.copied        complete: its entries are on their way into _data
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from engine import directory_lock
from engine.errors import OperationFailed
from engine.filetree import attributes
from engine.filetree.copy import copy_tree
from engine.filetree.descent import DIRECTORY
from engine.filetree.remove import remove_at
from engine.image.merged import merged
from engine.kernel import calls
from engine.spec.network import VolumeRecord

_COPYING, _COPIED = ".copying", ".copied"


def copy_up(layers: Sequence[str], path: str, volume: VolumeRecord) -> None:
    """Fill an empty volume with what a container of the layers (lowest first) would see at `path`, the folder's owner
    and mode included; nothing if the volume has content, or the image has no directory there.

    An interrupted earlier copy is finished or removed. Raises OperationFailed.
    """
    try:
        if volume.spec.driver_opts:
            _into_mounted(layers, path, volume.mountpoint)
            return
        # Several containers may start at once.
        with directory_lock.exclusive(os.path.dirname(volume.mountpoint)) as folder:
            names = os.listdir(folder)
            if _COPYING in names:
                remove_at(folder, _COPYING)
            if _COPIED not in names and not os.listdir(volume.mountpoint) and _copied(layers, path, folder):
                names.append(_COPIED)
            if _COPIED in names:
                _move_in(folder, volume.mountpoint)
    except OSError as error:
        raise OperationFailed.of("copy the image's files to", volume.mountpoint, error) from error


@contextlib.contextmanager
def _source(layers: Sequence[str], path: str) -> Iterator[int | None]:
    """The image's directory at `path`, links on the way resolved inside the image; None if it has none."""
    with merged(layers) as root:
        try:
            fd = calls.openat2(root, path, os.O_RDONLY | os.O_DIRECTORY)
        except OperationFailed:
            yield None
            return
        try:
            yield fd
        finally:
            os.close(fd)


def _copied(layers: Sequence[str], path: str, folder: int) -> bool:
    with _source(layers, path) as source:
        if source is None:
            return False
        os.mkdir(_COPYING, 0o700, dir_fd=folder)
        try:
            target = os.open(_COPYING, DIRECTORY, dir_fd=folder)
            try:
                copy_tree(source, target)
            finally:
                os.close(target)
            os.rename(_COPYING, _COPIED, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            remove_at(folder, _COPYING)
            raise
    return True


def _move_in(folder: int, mountpoint: str) -> None:
    source = os.open(_COPIED, DIRECTORY, dir_fd=folder)
    target = os.open(mountpoint, DIRECTORY)
    try:
        status = os.fstat(source)
        # Restore the image's mtime, because moving the entries changed it.
        for name in os.listdir(source):
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
        attributes.apply(
            target,
            owner=(status.st_uid, status.st_gid),
            mode=status.st_mode,
            xattrs=attributes.xattrs(source),
            mtime=status.st_mtime_ns,
        )
    finally:
        os.close(source)
        os.close(target)
    os.rmdir(_COPIED, dir_fd=folder)


def _into_mounted(layers: Sequence[str], path: str, mountpoint: str) -> None:
    """Fill a volume with a separate file system directly, because nothing can be prepared beside it."""
    target = os.open(mountpoint, DIRECTORY)
    try:
        if os.listdir(target):
            return
        with _source(layers, path) as source:
            if source is not None:
                copy_tree(source, target)
    finally:
        os.close(target)
