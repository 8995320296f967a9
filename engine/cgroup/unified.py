"""Create a cgroup with its controllers in the unified hierarchy (kernel documentation, admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

import contextlib
import errno

from engine.cgroup import files
from engine.errors import OperationFailed, Unsupported

CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")
ASIDE = "init"
"""The cgroup for processes that are in the way: a cgroup that enables controllers for its children must have no
processes."""


def make(base: str, folder: str, needed: set[str]) -> None:
    """Create `folder` below `base`, with all available controllers enabled along the path; the `needed` ones must be
    available.

    Raises Unsupported if one is missing, OperationFailed.
    """
    available = _words(f"{base}/cgroup.controllers")
    if lacking := needed - available:
        raise Unsupported(
            f"the cgroup controller {min(lacking)} is not available in {base}", hint="See cgroup delegation (systemd)."
        )
    here = base
    for part in folder[len(base) + 1 :].split("/"):
        _switch_on(here, available, needed)
        here = f"{here}/{part}"
        files.make(here)


def _switch_on(folder: str, available: set[str], needed: set[str]) -> None:
    missing = [one for one in CONTROLLERS if one in available - _words(f"{folder}/cgroup.subtree_control")]
    for controller in missing:
        try:
            files.write(f"{folder}/cgroup.subtree_control", f"+{controller}")
        except OperationFailed as error:
            if error.errno == errno.EBUSY and _move_processes_away(folder):
                files.write(f"{folder}/cgroup.subtree_control", f"+{controller}")
            elif controller in needed:
                raise


def _move_processes_away(folder: str) -> bool:
    """Move processes out of a cgroup that is to enable controllers for its children (the "no internal processes" rule).
    In a cgroup namespace or a delegated cgroup we may move them; the real root is exempt from the rule."""
    with contextlib.suppress(OSError, OperationFailed):
        files.make(f"{folder}/{ASIDE}")
        with open(f"{folder}/cgroup.procs", encoding="utf-8") as file:
            pids = file.read().split()
        for pid in pids:
            with contextlib.suppress(OperationFailed):  # it has just exited
                files.write(f"{folder}/{ASIDE}/cgroup.procs", pid)
        return bool(pids)
    return False


def _words(path: str) -> set[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return set(file.read().split())
    except OSError as error:
        raise OperationFailed.of("read", path, error) from error
