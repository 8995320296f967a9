"""Files that commands write."""

import os

import pytest

from composer.cli.errors import CommandError
from composer.cli.project.transfers import written


def test_the_file_appears_when_it_is_complete(tmp_path):
    (tmp_path / "a.tar").write_text("old")
    with written(str(tmp_path / "a.tar")) as fd:
        os.write(fd, b"new")
        assert (tmp_path / "a.tar").read_text() == "old"
    assert (tmp_path / "a.tar").read_text() == "new"
    assert os.stat(tmp_path / "a.tar").st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["a.tar"]


def test_killed_process_leaves_no_file(tmp_path):
    """The file has no name until then."""
    with written(str(tmp_path / "a.tar")) as fd:
        os.write(fd, b"half")
        assert os.listdir(tmp_path) == []


def test_failed_transfer_leaves_no_file(tmp_path):
    with pytest.raises(ZeroDivisionError), written(str(tmp_path / "a.tar")):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_without_nameless_files_it_has_another_name_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setattr("composer.cli.project.transfers._nameless", lambda folder, mode: -1)
    with written(str(tmp_path / "a.tar")) as fd:
        os.write(fd, b"new")
        assert os.listdir(tmp_path) == [f"a.tar.{os.getpid()}.part"]
    assert os.listdir(tmp_path) == ["a.tar"]


def test_a_pipe_is_written_directly(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with written(str(tmp_path / "pipe")) as fd:
        os.write(fd, b"x")
    assert os.read(reader, 10) == b"x"
    os.close(reader)


def test_a_missing_directory(tmp_path):
    with pytest.raises(CommandError, match="no such file or directory"), written(str(tmp_path / "gone" / "a.tar")):
        pass
