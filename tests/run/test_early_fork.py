"""A process that is forked at the start of a command: it becomes the supervisor, or exits with the command."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.poll import readable

TREE = str(Path(__file__).parents[2])

SUPERVISING = """
import os, socket
from composer.run import early_fork, launch
from engine.paths import Roots

launch.live = lambda roots, project, environ, open_engine, descriptors: os.write(
    descriptors[1], repr((roots.state, project, environ, open_engine())).encode()
)
fork = early_fork.EarlyFork(lambda roots: roots.run)
ours, theirs = os.pipe()
fork.supervise(Roots("/s", "/r"), "p", {"A": "b" * 300000}, (theirs,) * 4)
os.close(theirs)
with open(ours) as file:
    print(file.read())
"""

IDLE = """
import os, sys
from composer.run.early_fork import EarlyFork

fork = EarlyFork(None)
print(fork._pid, flush=True)
{then}
"""


def python(text):
    return subprocess.Popen(
        [sys.executable, "-P", "-c", text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": TREE},
    )


def test_the_fork_becomes_the_supervisor_that_the_command_asks_for():
    with python(SUPERVISING) as process:
        output, _ = process.communicate(timeout=60)
    assert eval(output) == ("/s", "p", {"A": "b" * 300000}, "/r")


@pytest.mark.parametrize("killed", [False, True])
def test_the_fork_ends_with_a_command_that_needs_no_supervisor(killed):
    with python(IDLE.format(then="sys.stdin.read(); os._exit(0)")) as process:
        fork = os.pidfd_open(int(process.stdout.readline()))
        if killed:
            process.kill()
        process.stdin.close()
        assert process.stdout.read() == b""  # the fork does not keep the command's output open
        assert readable(fork, timeout=60)
        os.close(fork)
        assert process.wait(60) == (-signal.SIGKILL if killed else 0)


def test_dismissed_fork_exits():
    with python(IDLE.format(then="fork.dismiss(); print(os.path.exists(f'/proc/{fork._pid}'))")) as process:
        output, _ = process.communicate(timeout=60)
    assert output.split()[1] == b"False"


def test_a_fork_that_was_killed_cannot_supervise():
    then = """
import signal
from engine.paths import Roots
os.kill(fork._pid, signal.SIGKILL)
os.waitpid(fork._pid, 0)
try:
    fork.supervise(Roots("/s", "/r"), "p", {}, (0, 1, 2, 0))
except OSError as error:
    print(type(error).__name__)
"""
    with python(IDLE.format(then=then)) as process:
        output, _ = process.communicate(timeout=60)
    assert output.split()[1] in (b"BrokenPipeError", b"ConnectionResetError")


def test_early_fork_loads_no_heavy_modules():
    text = """
import importlib, sys
from composer.run.early_fork import MODULES
for name in MODULES:
    importlib.import_module(name)
print(sorted({"yaml", "pydantic", "networkx", "pyroute2", "urllib3", "jeepney"} & sys.modules.keys()))
"""
    with python(text) as process:
        output, _ = process.communicate(timeout=60)
    assert output == b"[]\n"
