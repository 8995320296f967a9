"""Files that change atomically."""

import os

import pytest

from engine import atomic


def test_a_new_file_is_private_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "file"
    atomic.replace(str(path), b"one", durable=True)
    atomic.replace(str(path), b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o7777 == 0o600
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.root
def test_owner_and_mode_stay(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    os.chown(path, 5, 6)
    path.chmod(0o640)
    atomic.replace(str(path), b"two", keep_owner=True)
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (5, 6, 0o640)
    other = tmp_path / "other"
    atomic.replace(str(other), b"three", keep_owner=True)
    assert other.read_bytes() == b"three"


def test_failed_write_changes_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        atomic.replace(str(tmp_path / "folder"), b"x")
    with pytest.raises(FileNotFoundError):
        atomic.replace(str(tmp_path / "missing/file"), b"x")
    assert os.listdir(tmp_path) == ["folder"]


def test_draft_replaces_the_file_or_is_removed(tmp_path):
    path = tmp_path / "file"
    with atomic.draft_of(str(path)) as draft, open(draft, "w") as file:
        file.write("one")
    with pytest.raises(OSError, match="full"), atomic.draft_of(str(path)) as draft, open(draft, "w") as file:
        file.write("tw")
        raise OSError("full")
    assert path.read_text() == "one"
    assert os.listdir(tmp_path) == ["file"]
