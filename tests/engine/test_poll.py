"""Waiting for descriptors, with many open."""

import fcntl
import os
import resource

import pytest

from engine.poll import readable, writable


@pytest.fixture
def pipe():
    """A pipe whose descriptor numbers select(2) would refuse."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 4096), limits[1]))
    low = os.pipe()
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 2000) for fd in low]
    for fd in low:
        os.close(fd)
    yield high
    for fd in high:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_ready(pipe):
    reading, writing = pipe
    writable(writing)
    assert readable(reading, timeout=0.001) == set()
    os.write(writing, b"x")
    assert readable(reading) == {reading}
