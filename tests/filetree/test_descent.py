import errno
import os

import pytest

from engine.filetree.descent import Descent
from tests.deep import make_deep


def test_a_moved_directory_does_not_lead_out(root):
    """ ".." of a directory that was moved up leads out of the tree."""
    path, fd = root
    make_deep(fd, 60)
    with Descent(fd) as walk:
        while walk.depth < 60:
            walk.enter("d")
        moved = os.readlink(f"/proc/self/fd/{walk.fd}").rsplit("/", 40)[0]
        os.rename(moved, path / "moved")
        with pytest.raises(OSError, match="moved") as caught:
            while walk.depth:
                walk.leave()
        assert caught.value.errno == errno.ESTALE


def test_deep_descent_and_return(root, few_descriptors):
    path, fd = root
    make_deep(fd, 1000)
    with Descent(fd) as walk:
        for goal in (1000, 0, 500, 100, 1000, 33, 32, 31, 64, 0):
            while walk.depth < goal:
                walk.enter("d")
            while walk.depth > goal:
                walk.leave()
            place = os.readlink(f"/proc/self/fd/{walk.fd}")
            assert place == "/".join([str(path), *["d"] * goal])
