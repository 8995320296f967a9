"""Whether another process sees the same files as we do: a mount namespace may have other mounts at the same paths."""

from __future__ import annotations

import os
from collections.abc import Iterable

from engine.errors import OperationFailed
from engine.kernel import calls, flags

_ROOT = flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def first_difference(pid: int, paths: Iterable[str]) -> str:
    """The first of the absolute paths at which process `pid` sees another file than we do, or would create one elsewhere;
    "" if there is none, or if we may not inspect the process."""
    try:
        theirs, ours = (os.stat(f"/proc/{place}/ns/mnt") for place in (pid, "self"))
        if os.path.samestat(theirs, ours):
            return ""
        roots = [os.open(f"/proc/{place}/root", _ROOT) for place in (pid, "self")]
    except OSError:
        return ""
    try:
        return next((path for path in paths if _file(roots[0], path) != _file(roots[1], path)), "")
    finally:
        for root in roots:
            os.close(root)


def _file(root: int, path: str) -> tuple[str, int, int]:
    """The deepest part of the path that exists, and its device and inode numbers: what is missing would be created
    there."""
    while True:
        try:
            found = calls.openat2(root, path, flags.O_PATH)
        except OperationFailed as error:
            if path in ("", "/"):
                return "", 0, error.errno
            path = os.path.dirname(path)
            continue
        try:
            status = os.fstat(found)
            return path, status.st_dev, status.st_ino
        finally:
            os.close(found)
