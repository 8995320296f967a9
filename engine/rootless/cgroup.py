"""The cgroup in which systemd, or root by chown(1), lets us make others (cgroups(7), "Delegation"). v2 only."""

from __future__ import annotations

import os

_MOUNT = "/sys/fs/cgroup"
_FILES = ("", "/cgroup.procs", "/cgroup.subtree_control")
_OURS = "rootless"
"""Where we ourselves go: a cgroup whose controllers are passed on has no processes of its own."""


def delegated(mount: str = _MOUNT) -> str:
    """The folder of our own cgroup when it is ours to divide, else "". We are then in a child of it."""
    if not os.path.exists(f"{mount}/cgroup.controllers"):
        return ""
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        place = next((line.strip()[3:] for line in file if line.startswith("0::")), "/")
    folder = f"{mount}{place}".rstrip("/")
    if os.path.basename(folder) == _OURS:  # a predecessor of ours started us
        folder = os.path.dirname(folder)
    if place == "/" or not all(os.access(f"{folder}{file}", os.W_OK) for file in _FILES):
        return ""
    try:
        os.makedirs(f"{folder}/{_OURS}", exist_ok=True)
        with open(f"{folder}/{_OURS}/cgroup.procs", "w", encoding="ascii") as file:
            file.write("0")
        with open(f"{folder}/cgroup.controllers", encoding="ascii") as file:
            controllers = file.read().split()
        with open(f"{folder}/cgroup.subtree_control", "w", encoding="ascii") as file:
            file.write(" ".join(f"+{controller}" for controller in controllers))
    except OSError:
        return ""  # EBUSY: there are other processes than us, so it is somebody's session and not ours
    return folder
