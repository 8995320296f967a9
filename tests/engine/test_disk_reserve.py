"""The reserved space: why nothing can be written, and how space is given back beyond a quota."""

import errno
import os
import subprocess
import sys

from engine import disk_reserve
from engine.errors import OperationFailed

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))
from engine import disk_reserve
print(disk_reserve.refusal(sys.argv[1]))
"""


def test_a_folder_that_can_be_written(tmp_path):
    disk_reserve.keep(str(tmp_path))
    assert disk_reserve.refusal(str(tmp_path)) == 0 and not disk_reserve.is_scarce(str(tmp_path))
    assert os.listdir(tmp_path) == ["reserve"]
    assert disk_reserve.give(str(tmp_path))
    assert os.stat(tmp_path / "reserve").st_size == (8 << 20) - (512 << 10)


def test_a_limit_of_the_size_of_files(tmp_path):
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, check=True)
    assert int(done.stdout) == errno.EFBIG


def test_a_quota(tmp_path, monkeypatch):
    """As btrfs answers beyond a quota: files can be removed, but neither written nor shortened."""
    disk_reserve.keep(str(tmp_path))

    def refuse(*_):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "truncate", refuse)
    monkeypatch.setattr(os, "write", refuse)
    assert disk_reserve.refusal(str(tmp_path)) == errno.EDQUOT and disk_reserve.is_scarce(str(tmp_path))
    assert disk_reserve.give(str(tmp_path)) and os.listdir(tmp_path) == []
    assert not disk_reserve.give(str(tmp_path))
    text = str(OperationFailed.of("write", str(tmp_path), OSError(errno.EDQUOT, "Disk quota exceeded")))
    assert text.splitlines()[1].startswith("A quota of the file system at /") and text.endswith(" is used up.")
