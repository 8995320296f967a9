"""Freeze a cgroup and wait until all its processes are frozen."""

from __future__ import annotations

import os
import select
import time

from engine.cgroup import files
from engine.errors import OperationFailed
from engine.kernel import proc

PATIENCE = 10.0
"""Seconds after which a process that does not stop (one in an uninterruptible sleep) fails the freezing. One that only
waits for a processor gets the same time once more."""


def freeze_unified(folder: str) -> None:
    files.write(f"{folder}/cgroup.freeze", "1")
    deadline = time.monotonic() + PATIENCE
    with open(f"{folder}/cgroup.events", "rb", buffering=0) as file:
        poll = select.poll()
        poll.register(file, select.POLLPRI)  # the file's content has changed since it was read
        while b"frozen 1" not in os.pread(file.fileno(), 4096, 0):
            left = deadline - time.monotonic()
            if left <= 0:
                if _runnable(folder):
                    deadline += PATIENCE
                    continue
                files.write(f"{folder}/cgroup.freeze", "0")
                raise OperationFailed("freeze", folder, detail=f"a process did not stop within {PATIENCE:g} s")
            poll.poll(left * 1000)


def freeze_v1(folder: str) -> None:
    path = f"{folder}/freezer.state"
    deadline = time.monotonic() + PATIENCE
    while True:
        # Written again each time: a process that was just being forked may have escaped (freezer-subsystem.rst).
        files.write(path, "FROZEN")
        with open(path, encoding="utf-8") as file:
            if file.read().strip() == "FROZEN":
                return
        if time.monotonic() > deadline:
            if _runnable(folder):
                deadline += PATIENCE
                continue
            files.write(path, "THAWED")
            raise OperationFailed("freeze", folder, detail=f"a process did not stop within {PATIENCE:g} s")
        time.sleep(0.001)  # cgroup v1 has no event for it


def _runnable(folder: str) -> bool:
    """Whether a process of the cgroup runs or waits for a processor (proc_pid_stat(5), state R)."""
    with open(f"{folder}/cgroup.procs", encoding="ascii") as file:
        return any(proc.state(int(pid)) == "R" for pid in file)
