"""Temporary directories of builds: a build removes those of killed builds, but not those of running ones."""

import os
import signal
import subprocess
import sys

from engine.build import temporary

KILLED = """
import os, sys, time
from engine.build import temporary
path, _ = temporary.make(sys.argv[1])
os.makedirs(path + "/context-1/deep/er")
print(path, flush=True)
time.sleep(600)
"""


def test_what_a_killed_build_leaves(tmp_path):
    ours, lock = temporary.make(str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, text=True) as build:
        theirs = build.stdout.readline().strip()
        temporary.sweep(str(tmp_path))
        assert os.path.isdir(ours) and os.path.isdir(theirs)  # both are in use
        build.send_signal(signal.SIGKILL)
    third, other = temporary.make(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == sorted(map(os.path.basename, (ours, third)))
    for path, held in ((ours, lock), (third, other)):
        temporary.remove(path, held)
    assert os.listdir(tmp_path) == []


def test_a_sweep_of_nothing(tmp_path):
    temporary.sweep(str(tmp_path / "absent"))
