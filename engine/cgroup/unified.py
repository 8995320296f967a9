"""Making a cgroup in the unified hierarchy with its controllers (kernel documentation, admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

import contextlib
import errno

from engine.cgroup import files
from engine.errors import OperationFailed, Unsupported

CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")
ASIDE = "init"
"""Where processes go that stand in a cgroup which is to have controllers for those below it."""


def make(base: str, folder: str, needed: set[str]) -> None:
    """Make `folder` below `base`, every controller there is switched on along the way; the `needed` ones must be.

    Raises Unsupported when one is not there, OperationFailed.
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
            if error.errno == errno.EBUSY and _step_aside(folder):
                files.write(f"{folder}/cgroup.subtree_control", f"+{controller}")
            elif controller in needed:
                raise


def _step_aside(folder: str) -> bool:
    """No process may be where controllers are given on ("no internal process"). In a cgroup namespace, and when the cgroup
    was delegated to us, the processes there are ours to move; the root of all is exempt and never needs it."""
    with contextlib.suppress(OSError, OperationFailed):
        files.make(f"{folder}/{ASIDE}")
        with open(f"{folder}/cgroup.procs", encoding="utf-8") as file:
            pids = file.read().split()
        for pid in pids:
            with contextlib.suppress(OperationFailed):  # it has just ended
                files.write(f"{folder}/{ASIDE}/cgroup.procs", pid)
        return bool(pids)
    return False


def _words(path: str) -> set[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return set(file.read().split())
    except OSError as error:
        raise OperationFailed.of("read", path, error) from error
