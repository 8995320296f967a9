"""Messages for errors of the system."""

import errno
import os
import subprocess

import pytest

from engine.errors import OperationFailed, system_message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), "No such file or directory /x"),
        (
            OSError(errno.EMFILE, "Too many open files"),
            "Too many open files\nRaise the limit of open files: ulimit -n 1024",
        ),
        (MemoryError(), "no memory is left: raise the limit (ulimit -v, or of the cgroup), or stop other programs"),
        (
            RuntimeError("can't start new thread"),  # the interpreter's, which has no errno
            "start a thread: EAGAIN\n"
            "Raise the limit of processes (ulimit -u, or pids.max of our cgroup), or of memory (ulimit -v).",
        ),
        (OSError("no number"), ""),
        (RuntimeError("of ours"), ""),
    ],
)
def test_unexpected_error_of_the_system(error, message):
    assert system_message(error) == message


def test_process_that_cannot_be_started():
    assert "pids.max" in str(OperationFailed("clone3", "mount|pid", errno.EAGAIN))


@pytest.mark.root
def test_file_system_without_inodes_is_named(tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=1", "tmpfs", tmp_path], check=True)
    try:
        with pytest.raises(OSError) as raised:
            os.mkdir(tmp_path / "x")
        expected = f"No space left on device {tmp_path}/x\nThe file system at {tmp_path} has no inodes left."
        assert system_message(raised.value) == expected
    finally:
        subprocess.run(["umount", tmp_path], check=True)
