"""The size of a tree: every file once, at any depth, and nothing outside."""

import os

from engine.filetree.remove import remove
from engine.filetree.size import tree_size
from tests.deep import make_deep


def test_files_are_counted_once(tmp_path):
    (tmp_path / "a").write_bytes(bytes(1000))
    (tmp_path / "below").mkdir()
    (tmp_path / "below/b").write_bytes(bytes(10))
    os.link(tmp_path / "a", tmp_path / "below/again")
    (tmp_path / "link").symlink_to("/")
    assert tree_size(str(tmp_path)) == 1010 + len("/")
    assert tree_size(str(tmp_path / "absent")) == 0


def test_a_tree_deeper_than_the_longest_path(tmp_path, few_descriptors):
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    make_deep(fd, 3000)
    os.close(fd)
    (tmp_path / "z").write_bytes(bytes(5))
    assert tree_size(str(tmp_path)) == 5
    remove(str(tmp_path / "d"))


def test_files_that_vanish_meanwhile_are_left_out(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_bytes(bytes(7))
    real = os.listdir

    def listed(place):
        return [*real(place), "vanished"] if isinstance(place, int) else real(place)

    monkeypatch.setattr(os, "listdir", listed)
    assert tree_size(str(tmp_path)) == 7
