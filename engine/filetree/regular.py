"""Opening only regular files where a container may put another file under their name at any moment.

The container can create FIFOs, on which open(2) would block, and devices that only its device cgroup closes to it: we
would open them, which has side effects (a watchdog starts, a tape rewinds), and read or write the host's device for it.
"""

from __future__ import annotations

import errno
import os
import stat

HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def open_regular(parent: int, name: str, how: int = os.O_RDONLY) -> int:
    """Open the regular file `name` in the directory `parent`. Raises OSError, with ESTALE if it is something else."""
    return reopened(os.open(name, HANDLE, dir_fd=parent), how)


def reopened(handle: int, how: int = os.O_RDONLY) -> int:
    """Open the regular file that `handle`, an O_PATH descriptor, refers to, and close the handle. Raises OSError, with
    ESTALE if it is not a regular file."""
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.ESTALE, "it is not a regular file")
        return os.open(f"/proc/self/fd/{handle}", how | os.O_CLOEXEC)
    finally:
        os.close(handle)
