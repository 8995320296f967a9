"""Check the engine's requirements before anything is done: on a restricted machine (a chroot, an unprivileged
container) the user gets one message about what is missing, instead of the error of the first failing system call."""

from __future__ import annotations

import contextlib
import os
import threading

from engine.errors import PRIVILEGED, OperationFailed, Unsupported
from engine.kernel import calls, flags
from engine.paths import Roots

_NEEDED = {
    "CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SETPCAP": 8,
    "CAP_NET_ADMIN": 12, "CAP_SYS_CHROOT": 18, "CAP_SYS_ADMIN": 21,
}  # fmt: skip
"""Capabilities that creating a container requires (linux/capability.h)."""
_OVERLAYFS = 0x794C7630


def check(roots: Roots) -> None:
    """Raises Unsupported with a hint."""
    _check_capabilities()
    _check_root()
    _check_state_root(roots.state)


def _check_capabilities() -> None:
    """Ours, and in a user's own namespace those that we have there."""
    ours = calls.capget()
    missing = [name for name, number in _NEEDED.items() if not ours >> number & 1]
    if missing:
        raise Unsupported(f"composer runs as root without {' and '.join(missing)}, which it needs", hint=PRIVILEGED)


def _check_root() -> None:
    """Whether our root directory is that of our mount namespace. In a chroot it is not: a process that enters a container and
    returns, or is created in one, would be outside (setns(2), mount namespaces: the root directory becomes the
    namespace's)."""
    if not os.path.exists("/proc/thread-self"):
        raise Unsupported("proc is not mounted at /proc", hint="Mount it: mount -t proc proc /proc")
    moved = []

    def look() -> None:
        with contextlib.suppress(OSError, OperationFailed):
            calls.unshare(flags.CLONE_FS)  # from here on, this thread has a separate root directory
            before = calls.mount_id("/"), os.stat("/").st_ino
            space = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            try:
                calls.setns(space, flags.CLONE["mount"])
            finally:
                os.close(space)
            moved.append((calls.mount_id("/"), os.stat("/").st_ino) != before)

    thread = threading.Thread(target=look, name="root")
    thread.start()
    thread.join()
    if any(moved):
        raise Unsupported(
            "composer runs in a chroot, and processes entering containers would run outside it",
            hint="Use pivot_root(8) or systemd-nspawn(1) instead of the chroot, or run composer outside it.",
        )


def _check_state_root(path: str) -> None:
    """overlayfs accepts no upper layer that is itself on overlayfs (ovl_mount_dir_check)."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    fd = os.open(path, flags.O_PATH | os.O_CLOEXEC)
    try:
        kind = calls.filesystem_type(fd)
    finally:
        os.close(fd)
    if kind == _OVERLAYFS:
        raise Unsupported(
            f"the state root {path} is on overlayfs, which cannot hold the files of containers",
            hint="Use another file system: docker run --volume composer:/var/lib/composer, or a directory elsewhere in "
            "COMPOSER_STATE_ROOT.",
        )
