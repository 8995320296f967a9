"""A walk through a directory tree of any depth with a bounded number of descriptors.

Only the deepest levels stay open. A level above them is opened again through ".." of its child, and must be the same
directory: moving directories during the walk cannot lead us out of the tree.
"""

from __future__ import annotations

import errno
import os

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = 32
"""Levels that stay open."""


class Descent:
    """The directories from `root`, which the caller keeps open, down to the current one. Methods raise OSError."""

    def __init__(self, root: int) -> None:
        self._fds = [root]
        self._identities: list[tuple[int, int]] = []

    def __enter__(self) -> Descent:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._fds[1:]:
            if fd >= 0:
                os.close(fd)

    @property
    def fd(self) -> int:
        """The current directory; the descriptor belongs to the walk."""
        return self._fds[-1]

    @property
    def depth(self) -> int:
        """Levels below the root."""
        return len(self._fds) - 1

    def enter(self, name: str) -> int:
        """Go down into `name`, which must be a directory and not a link. Returns its descriptor."""
        return self.adopt(os.open(name, DIRECTORY, dir_fd=self.fd))

    def adopt(self, fd: int) -> int:
        """Go down into a child of the current directory that the caller has opened; the walk closes it."""
        self._fds.append(fd)
        old = self.depth - _OPEN
        if old > 0 and self._fds[old] >= 0:
            status = os.fstat(self._fds[old])
            # Levels are closed in order from the top, so that their identities form a list without gaps.
            del self._identities[old - 1 :]
            self._identities.append((status.st_dev, status.st_ino))
            os.close(self._fds[old])
            self._fds[old] = -1
        return fd

    def leave(self) -> None:
        """Go up again. Raises OSError with ESTALE if the directory was moved meanwhile."""
        above = self.depth - 1
        if self._fds[above] < 0:
            fd = os.open("..", DIRECTORY, dir_fd=self.fd)
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) != self._identities[above - 1]:
                os.close(fd)
                raise OSError(errno.ESTALE, "a directory was moved during the operation")
            self._fds[above] = fd
        os.close(self._fds.pop())
