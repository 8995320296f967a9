import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import OperationFailed
from engine.image.tree import Tree, clean


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "root"
    path.mkdir()
    fd = os.open(path, os.O_RDONLY)
    with Tree(fd, "root") as tree:
        tree.path = path
        yield tree
    os.close(fd)


@pytest.mark.parametrize("target", ["/outside", "../../../../../../outside", "/../outside", "link2"])
def test_links_stay_inside(root, tmp_path, target):
    (tmp_path / "outside").write_text("secret")
    (root.path / "outside").write_text("inside")
    (root.path / "link2").symlink_to("/../../outside")
    (root.path / "link").symlink_to(target)
    assert root.read("link") == b"inside"


def test_magic_links_are_refused(root, tmp_path):
    (root.path / "link").symlink_to("/proc/self/root")
    os.mkdir(root.path / "proc")
    assert root.read("link/etc/passwd") is None


def test_directories_are_made_inside_through_links(root, tmp_path):
    made = []
    (root.path / "var").mkdir()
    (root.path / "var/run").symlink_to("/run")
    (root.path / "evil").symlink_to("../../../../" + str(tmp_path) + "/gone")
    fd = root.directory("var/run/app", lambda parent, name: made.append(name))
    os.mkdir("x", dir_fd=fd)
    assert (root.path / "run/app/x").is_dir()
    root.directory("evil/sub", lambda parent, name: None)
    assert not (tmp_path / "gone").exists()
    assert made == ["run", "app"]


def test_a_loop_of_links_is_an_error(root):
    (root.path / "a").symlink_to("b")
    (root.path / "b").symlink_to("a")
    with pytest.raises(OperationFailed, match="ELOOP"):
        root.directory("a/x", lambda parent, name: None)


def test_fifos_do_not_block_and_are_not_read(root):
    os.mkfifo(root.path / "fifo")
    assert root.read("fifo") is None


def test_many_directories_need_few_descriptors(root):
    for number in range(300):
        root.directory(f"d{number}", lambda parent, name: None)
    assert len(os.listdir("/proc/self/fd")) < 200


@given(st.text(alphabet="a./\0", max_size=12))
def test_clean_names_have_no_way_out(name):
    found = clean(name)
    if found is None:
        return
    parts = found.split("/")
    assert ".." not in parts
    assert found == "" or all(part not in ("", ".") for part in parts)
    assert "\0" not in found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("./a", "a"),
        ("/a//b/", "a/b"),
        ("a/../b", "b"),
        ("../a", None),
        ("a/../../b", None),
        (".", ""),
        ("a/.", "a"),
        ("..a", "..a"),
    ],
)
def test_clean(name, expected):
    assert clean(name) == expected
