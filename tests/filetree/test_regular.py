"""Only regular files are opened: no FIFO, no device, no link, whatever has the name by now."""

import errno
import os
import socket

import pytest

from engine.filetree.regular import open_regular, reopened


@pytest.fixture
def folder(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_a_regular_file(tmp_path, folder):
    (tmp_path / "file").write_text("content")
    fd = open_regular(folder, "file", os.O_RDWR)
    assert os.read(fd, 100) == b"content" and not os.get_inheritable(fd)
    os.write(fd, b"s")
    os.close(fd)
    assert (tmp_path / "file").read_text() == "contents"


def test_other_file_types_are_refused(tmp_path, folder):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
    kinds = ["fifo", "folder", "link", "socket"]
    if os.geteuid() == 0:
        os.mknod(tmp_path / "device", 0o20666, os.makedev(1, 8))
        kinds.append("device")
    before = len(os.listdir("/proc/self/fd"))
    for name in kinds:
        with pytest.raises(OSError, match="not a regular file") as raised:
            open_regular(folder, name)
        assert raised.value.errno == errno.ESTALE
    with pytest.raises(FileNotFoundError):
        open_regular(folder, "absent")
    with pytest.raises(OSError, match="not a regular file"):
        reopened(os.open("/dev/null", os.O_PATH))
    assert len(os.listdir("/proc/self/fd")) == before
