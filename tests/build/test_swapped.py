"""Builds of a directory that a container can write, and whose files it exchanges meanwhile."""

import contextlib
import os
import subprocess
import sys
import time

import pytest

from engine.errors import EngineError

SECONDS = 0.5
SWAP = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
os.mkfifo("fifo")
os.mknod("device", 0o20666, os.makedev(1, 8))
os.symlink(sys.argv[2] + "/marker", "link")
os.symlink(sys.argv[2], "dlink")
print(flush=True)
while True:
    for one, other in ((b"f", b"fifo"), (b"f", b"device"), (b"f", b"link"), (b"d", b"dlink"), (b"f", b"d")):
        libc.renameat2(-100, one, -100, other, 2)
"""


@pytest.fixture
def swapping(context, tmp_path):
    """Exchanges files in the build context; the link leads to a file of the host."""
    hosts = tmp_path / "hosts"
    hosts.mkdir()
    (hosts / "marker").write_text("of the host")
    context.write({"f": "A" * 70_000, "d/below": "A", "Dockerfile": "FROM scratch\nCOPY . /copied\n"})
    with subprocess.Popen([sys.executable, "-c", SWAP, context.path, hosts], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield
        process.kill()
    assert os.listdir(hosts) == ["marker"]


@pytest.mark.root
@pytest.mark.parametrize("text", ["FROM scratch\nCOPY . /c\n", "FROM scratch\nCOPY f /c/f\nADD d /c/d\n"])
def test_swapped_link_stays_inside_context(builder, swapping, text):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(EngineError):  # what is copied was replaced meanwhile
            for path, content in builder.tree(builder(text)).items():
                assert content is None or content.startswith("->") or set(content) <= {"A"} or "Dockerfile" in path
