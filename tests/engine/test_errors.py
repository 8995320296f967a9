"""Messages for errors of the system."""

import errno
import os
import subprocess

import pytest

from engine import errors
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


@pytest.mark.root
def test_read_only_file_system_is_named(tmp_path, monkeypatch):
    """That of the failing file, or else the root that is read-only; never the kernel's own settings."""
    for name in ("state", "run"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(errors, "PLACES", [str(tmp_path / "state"), str(tmp_path / "run")])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", tmp_path / "run"], check=True)
    try:
        with pytest.raises(OSError) as raised:
            os.mkdir(tmp_path / "run/x")
        sentence = f"The file system at {tmp_path}/run is read-only."
        assert sentence in str(OperationFailed.of("start", "the supervisor", raised.value))
        assert sentence in str(OperationFailed("start", "the supervisor", errno.EROFS))
    finally:
        subprocess.run(["umount", tmp_path / "run"], check=True)
    assert "read-only" not in str(OperationFailed("set", "/proc/sys/net/ipv4/ip_forward", errno.EROFS))
