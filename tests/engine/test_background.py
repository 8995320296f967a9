"""A background process: what it inherits from us, and what it does not."""

import os
import resource

import pytest

from engine.background import READY, Background, spawn


@pytest.fixture
def limit():
    """Lowers the limit of descriptors (RLIMIT_NOFILE)."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda number: resource.setrlimit(resource.RLIMIT_NOFILE, (number, before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("number", [200, 500], ids=["below the limit", "above the limit"])
def test_process_gets_only_given_descriptors(tmp_path, limit, number):
    """A shell passes us the open pipe of `> >(tee log)`: its reader waits until every process has closed it."""
    read, low = os.pipe()
    write = os.dup2(low, number)
    os.close(low)
    limit(300)
    script = f"ls /proc/self/fd >&2; printf 1 >&{READY}"
    path = str(tmp_path / "log")
    process = Background(
        path, lambda descriptors: spawn("/bin/sh", ["sh", "-c", script], {"PATH": os.environ["PATH"]}, descriptors)
    )
    os.close(write)
    assert process.wait()
    process.close()
    assert os.read(read, 1) == b""
    os.close(read)
    with open(path, encoding="ascii") as file:
        assert set(file.read().split()) <= {"0", "1", "2", "3", "4"}  # 4 belongs to ls
