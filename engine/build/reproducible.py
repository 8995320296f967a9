"""SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/): the latest time in an image.

Layers then depend only on the Dockerfile and its sources, so two machines produce the same digests.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping

from engine.filetree import attributes
from engine.filetree.descent import Descent

NAME = "SOURCE_DATE_EPOCH"


def epoch_of(arguments: Mapping[str, str], environ: Mapping[str, str]) -> int | None:
    """The time in seconds since the epoch, from a build argument or a variable; None when there is none. Raises ValueError if
    it is not a number."""
    text = arguments.get(NAME, environ.get(NAME, ""))
    if not text:
        return None
    if not text.isascii() or not text.isdecimal():
        raise ValueError(f"invalid {NAME} {text!r}: expected seconds since 1970-01-01")
    return int(text)


def clamp(folder: int, epoch: int) -> None:
    """Set all times in the tree open as `folder` that are later than `epoch`, including its own, to `epoch`. Raises OSError."""
    latest = epoch * 1_000_000_000

    def one(parent: int, name: str, status: os.stat_result) -> None:
        # Whiteouts of overlayfs have a time that no layer shows, and no attributes to set.
        if status.st_mtime_ns > latest and not (stat.S_ISCHR(status.st_mode) and status.st_rdev == 0):
            with attributes.path_of_entry(parent, name, status.st_mode) as file:
                attributes.set_time(file, latest)

    with Descent(folder) as walk:
        levels: list[Iterator[tuple[str, os.stat_result]]] = [_entries(walk.fd)]
        while levels:
            entry = next(levels[-1], None)
            if entry is None:
                levels.pop()
                if levels:
                    walk.leave()
                continue
            name, status = entry
            one(walk.fd, name, status)
            if stat.S_ISDIR(status.st_mode):
                levels.append(_entries(walk.enter(name)))
    if os.fstat(folder).st_mtime_ns > latest:
        attributes.set_time(folder, latest)


def _entries(fd: int) -> Iterator[tuple[str, os.stat_result]]:
    for name in os.listdir(fd):
        with contextlib.suppress(FileNotFoundError):
            yield name, os.stat(name, dir_fd=fd, follow_symlinks=False)
