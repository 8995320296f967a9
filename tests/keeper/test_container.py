"""A container in its keeper's memory."""

import errno
import os
import signal
import subprocess

import pytest

from engine.keeper.container import Container
from engine.keeper.life import State


class Refusing:
    """A channel that cannot send."""

    def __init__(self, number):
        self.number = number

    def send(self, message):
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(
    ("number", "failure"), [(errno.EPIPE, None), (errno.ENOBUFS, "start the process: No buffer space available")]
)
def test_process_that_cannot_be_started_is_killed(number, failure):
    """Unless it has exited: then it reports why."""
    container = Container("0" * 64, {}, None)
    with subprocess.Popen(["sleep", "1000"]) as process:
        container.pidfd = os.pidfd_open(process.pid)
        container.life.state = State.READY
        container.child = Refusing(number)
        container.start()
        assert (container.failure or {}).get("error") == failure
        if failure:
            assert process.wait(60) == -signal.SIGKILL
        process.kill()
    os.close(container.pidfd)
