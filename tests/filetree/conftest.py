import os
import subprocess

import pytest


@pytest.fixture(autouse=True)
def _removed(tmp_path):
    """pytest cannot remove deep trees: rm(1) can, whatever our own code did."""
    yield
    subprocess.run(["rm", "-rf", tmp_path], check=True)


@pytest.fixture
def root(tmp_path):
    """A directory with its descriptor."""
    path = tmp_path / "root"
    path.mkdir()
    fd = os.open(path, os.O_RDONLY)
    yield path, fd
    os.close(fd)
