import os
import subprocess

import pytest

from engine.filetree.remove import clear, remove, remove_at
from tests.deep import make_deep


def test_removal_does_not_follow_links(root, tmp_path):
    path, fd = root
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("x")
    (path / "dir/sub").mkdir(parents=True)
    (path / "dir/sub/link").symlink_to(victim)
    (path / "dir/link").symlink_to(victim)
    remove_at(fd, "dir")
    assert (victim / "file").exists()
    assert os.listdir(path) == []


@pytest.mark.parametrize(("depth", "name"), [(3000, "d"), (300, "n" * 255), (40, "\udcff\n")])
def test_trees_of_any_depth_and_name_are_removed(root, few_descriptors, depth, name):
    path, fd = root
    make_deep(fd, depth, name)
    remove_at(fd, name)
    assert os.listdir(path) == []


def test_missing_tree_is_not_an_error(root):
    path, fd = root
    remove(f"{path}/missing/too")
    with pytest.raises(FileNotFoundError):
        remove_at(fd, "missing")


def test_clear_leaves_the_folder(root):
    path, fd = root
    make_deep(fd, 3)
    (path / "file").touch()
    os.mkfifo(path / "fifo")
    clear(fd)
    assert path.is_dir()
    assert os.listdir(path) == []


@pytest.mark.root
def test_immutable_files_are_removed(root):
    path, fd = root
    (path / "dir/sub").mkdir(parents=True)
    (path / "dir/file").touch()
    (path / "dir/log").touch()
    if subprocess.run(["chattr", "+i", path / "dir/file"], capture_output=True, check=False).returncode:
        pytest.skip("no chattr, or a file system without its attributes")
    subprocess.run(["chattr", "+a", path / "dir/log"], check=True)
    subprocess.run(["chattr", "+i", path / "dir/sub", path / "dir"], check=True)
    remove_at(fd, "dir")
    assert os.listdir(path) == []
