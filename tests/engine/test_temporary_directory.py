"""Temporary directories of builds: a build removes those of killed builds, but not those of running ones."""

import os
import signal
import stat
import subprocess
import sys

from engine import temporary_directory

KILLED = """
import os, sys, time
from engine import temporary_directory
path, _ = temporary_directory.make(sys.argv[1])
os.makedirs(path + "/context-1/deep/er")
print(path, flush=True)
time.sleep(600)
"""


def test_directories_of_killed_process_are_removed(tmp_path):
    ours, lock = temporary_directory.make(str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, text=True) as build:
        theirs = build.stdout.readline().strip()
        temporary_directory.sweep(str(tmp_path))
        assert os.path.isdir(ours) and os.path.isdir(theirs)  # both are in use
        build.send_signal(signal.SIGKILL)
    third, other = temporary_directory.make(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == sorted(map(os.path.basename, (ours, third)))
    for path, held in ((ours, lock), (third, other)):
        temporary_directory.remove(path, held)
    assert os.listdir(tmp_path) == []


def test_a_directory_exists_as_long_as_its_block(tmp_path):
    with temporary_directory.temporary(str(tmp_path)) as path:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
        temporary_directory.sweep(str(tmp_path))
        assert os.path.isdir(path)
    assert os.listdir(tmp_path) == []


def test_a_sweep_of_nothing(tmp_path):
    temporary_directory.sweep(str(tmp_path / "absent"))
