"""The container's file system tree: overlay, mounts, devices, pivot_root; all inside our private mount namespace."""

from __future__ import annotations

import os
from typing import Any

from engine.errors import OperationFailed
from engine.keeper.child import devices, mounts, process, terminal
from engine.kernel import calls, flags

Bundle = dict[str, Any]


def build(bundle: Bundle) -> int | None:
    """Make the root and move into it. Returns the terminal's master when the process wants a terminal."""
    process.preload(bundle["process"].get("seccomp", ""))
    # Slave, so that nothing of ours reaches the host, while a bind may still follow the host (rslave).
    calls.mount(None, "/", None, flags.MS["rec"] | flags.MS[bundle["rootfs"].get("propagation", "slave")])
    root_path = bundle["rootfs"]["root"]
    os.makedirs(root_path, exist_ok=True)
    overlay(bundle["rootfs"], root_path)
    root = os.open(root_path, flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for entry in bundle["mounts"]:
        mounts.place(root, entry)
        if entry["target"] == "/dev":
            devices.populate(root, bundle["devices"], privileged=bundle["privileged"])
    _pivot(root)
    os.close(root)
    _working_directory(bundle["process"]["cwd"])
    master = terminal.open_pair() if bundle["process"].get("tty") else None
    if master is not None:
        _console()
    return master


def _working_directory(path: str) -> None:
    """Made before the root may become read-only; what is wrong with it is said when the process changes to it."""
    try:
        os.makedirs(path or "/", exist_ok=True)
    except OSError:
        pass


def seal(bundle: Bundle) -> None:
    """The last changes to the tree, after sysctls are written: masked and read-only paths, a read-only root."""
    for path in bundle["read_only_paths"]:
        mounts.read_only(path)
    for path in bundle["masked_paths"]:
        mounts.mask(path)
    if bundle["rootfs"]["read_only"]:
        calls.mount(None, "/", None, flags.MS["remount"] | flags.MS["bind"] | flags.MS["ro"])


def overlay(rootfs: Bundle, target: str) -> None:
    """Overlayfs with lower directories relative to the layers' folder, so that many fit in mount(2)'s one page."""
    for folder in (rootfs["upper"], rootfs["work"]):
        os.makedirs(folder, exist_ok=True)
    os.chdir(rootfs["layers_folder"])
    lower = ":".join(reversed(rootfs["layers"]))
    # Paths of our own may hold ':' or ','; overlayfs wants them escaped (Documentation/filesystems/overlayfs.rst).
    upper, work = (rootfs[k].replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,") for k in ("upper", "work"))
    data = f"lowerdir={lower},upperdir={upper},workdir={work},{rootfs['features']}"
    if len(data) > os.sysconf("SC_PAGE_SIZE") - 1:
        raise OperationFailed("mount", target, detail=f"the image has too many layers ({len(rootfs['layers'])})")
    calls.mount("overlay", target, "overlay", 0, data)
    os.chdir("/")


def _pivot(root: int) -> None:
    """pivot_root(2) onto itself and detach the old root, which then lies on top."""
    os.fchdir(root)
    calls.pivot_root(".", ".")
    calls.mount(None, ".", None, flags.MS["rec"] | flags.MS["slave"])
    calls.umount(".")
    os.chdir("/")


def _console() -> None:
    """Docker's /dev/console: the terminal bound over a file."""
    name = os.ttyname(0)
    fd = os.open("/dev/console", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY, 0o600)
    os.close(fd)
    calls.mount(name, "/dev/console", None, flags.MS["bind"])
