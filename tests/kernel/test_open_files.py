"""The limit of open descriptors rises with the number of published ports."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, resource, subprocess, sys
from engine.kernel import open_files
from engine.net import ports
from engine.paths import Roots
from engine.spec.container import PortBinding
from engine.store import Store

hard = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
wanted = [PortBinding(container_port=n, host_port=str(n), host_ip="127.0.0.1", protocol="udp") for n in range(23000, 23200)]
found = ports.reserve(Store(Roots(sys.argv[1] + "/s", sys.argv[1] + "/r")), "c", wanted)
assert len(found.sockets) == 200
child = subprocess.Popen(["sleep", "60"])
open_files.restore(child.pid)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 200, resource.prlimit(child.pid, resource.RLIMIT_NOFILE))
child.kill()
"""


def _may_exceed():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"CapEff:\s*(\w+)", status)[1], 16) >> 24 & 1


def published(tmp_path, hard):
    command = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$0" -c "$@"']
    done = subprocess.run([*command, sys.executable, PROGRAM, str(tmp_path), str(hard)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_soft_limit_rises_but_not_that_of_children(tmp_path):
    assert published(tmp_path, 4096) == "True (100, 4096)"


@pytest.mark.skipif(not _may_exceed(), reason="CAP_SYS_RESOURCE is missing")
def test_root_exceeds_the_hard_limit(tmp_path):
    assert published(tmp_path, 120) == "True (100, 120)"
