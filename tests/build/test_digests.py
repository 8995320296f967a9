import os

import pytest

from engine.build.digests import Digests, sweep


@pytest.fixture
def file(tmp_path):
    """A file that has not changed for a long time."""
    path = tmp_path / "file"
    path.write_text("x")
    os.utime(path, (1, 1))
    return path


def old(path, **changes):
    """The status of `path`, as if its inode had been changed long ago as well."""
    status = os.stat(path)
    fields = {name: getattr(status, name) for name in ("st_ino", "st_size", "st_mtime_ns", "st_mode")}
    return type("Status", (), {**fields, "st_ctime_ns": 5, **changes})()


def test_remembered_between_builds(tmp_path, file):
    first = Digests(str(tmp_path / "cache"), "/context")
    assert first.get("file", old(file)) is None
    first.put("file", old(file), b"12")
    first.save()
    assert Digests(str(tmp_path / "cache"), "/context").get("file", old(file)) == b"12"
    assert Digests(str(tmp_path / "cache"), "/other").get("file", old(file)) is None


@pytest.mark.parametrize(
    "change", [{"st_ino": 1}, {"st_size": 9}, {"st_mtime_ns": 7}, {"st_ctime_ns": 6}, {"st_mode": 0}]
)
def test_changed_status_invalidates_digest(tmp_path, file, change):
    digests = Digests(str(tmp_path), "/context")
    digests.put("file", old(file), b"12")
    digests.save()
    assert Digests(str(tmp_path), "/context").get("file", old(file, **change)) is None


def test_recently_written_file_is_hashed_again(tmp_path, file):
    digests = Digests(str(tmp_path), "/context")
    digests.put("file", os.stat(file), b"12")
    digests.save()
    assert [name for name in os.listdir(tmp_path) if name.startswith("digests")] == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"file": 1}', b"\xff"])
def test_damaged_file_is_ignored(tmp_path, file, content):
    digests = Digests(str(tmp_path), "/context")
    digests.put("file", old(file), b"12")
    digests.put("odd\udcff", old(file), b"12")
    digests.save()
    (name,) = [name for name in os.listdir(tmp_path) if name.startswith("digests")]
    (tmp_path / name).write_bytes(content)
    assert Digests(str(tmp_path), "/context").get("file", old(file)) is None


def test_entries_unused_for_long_are_removed(tmp_path, file):
    for context in ("/old", "/kept", "/used"):
        digests = Digests(str(tmp_path), context)
        digests.put("file", old(file), b"12")
        digests.save()
    paths = {context: Digests(str(tmp_path), context)._path for context in ("/old", "/kept", "/used")}
    for context in ("/old", "/used"):
        os.utime(paths[context], (1, 1))
    used = Digests(str(tmp_path), "/used")
    used.get("file", old(file))
    used.save()
    (tmp_path / "other").touch()
    sweep(str(tmp_path))
    assert {context for context, path in paths.items() if os.path.exists(path)} == {"/kept", "/used"}
    os.utime(paths["/kept"], (5e9, 5e9))
    sweep(str(tmp_path), size=os.path.getsize(paths["/kept"]))
    assert {context for context, path in paths.items() if os.path.exists(path)} == {"/kept"}
    assert (tmp_path / "other").exists()
