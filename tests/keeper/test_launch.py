"""A keeper without work exits, but not while the process that started it may still connect."""

import os
import select
import socket
import subprocess
import sys

import pytest

from engine import control
from engine.keeper.protocol import VERSION

IMPATIENT = """
import sys
from engine.keeper import idleness, keeper, requests
idleness.IDLE = 0.01
keeper.Keeper(sys.argv[1], requests.handle).run(int(sys.argv[2]))
"""


@pytest.fixture
def started(tmp_path):
    """The process of a keeper with a short timeout, its path, and our end of the socket on which it reports that it
    listens."""
    path = str(tmp_path / "g" / "keeper.sock")
    os.mkdir(tmp_path / "g")
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-c", IMPATIENT, path, str(theirs.fileno())]
    with ours, subprocess.Popen(command, pass_fds=[theirs.fileno()]) as process:
        theirs.close()
        assert ours.recv(1) == b"1"
        yield process, path, ours
        ours.close()
        assert process.wait(60) == 0


def test_keeper_waits_for_its_starter(started):
    """However slow that is: on a busy machine, a keeper once exited before its supervisor had loaded its modules."""
    process, path, ours = started
    pidfd = os.pidfd_open(process.pid)
    assert not select.select([pidfd], [], [], 0.5)[0]
    os.close(pidfd)
    with control.connect(path, VERSION):
        ours.close()


def test_keeper_exits_when_its_starter_is_gone(started):
    process, path, ours = started
    ours.close()
    assert process.wait(60) == 0
    assert not os.path.exists(path)
