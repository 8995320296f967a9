import io
import os
import subprocess
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.filetree.remove import remove_at
from engine.image.layer import overlay
from engine.image.layer.pack import _record, pack
from engine.image.layer.unpack import unpack
from tests.deep import make_deep


def packed(path, **options):
    out = io.BytesIO()
    fd = os.open(path, os.O_RDONLY)
    try:
        pack(fd, out.write, **options)
    finally:
        os.close(fd)
    return out.getvalue()


def unpacked(data, path):
    path.mkdir()
    fd = os.open(path, os.O_RDONLY)
    try:
        unpack(iter([data]), fd, "layer")
    finally:
        os.close(fd)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    (root / "dir/sub").mkdir(parents=True)
    (root / "dir/file").write_text("hello")
    os.chmod(root / "dir/file", 0o4755)
    os.chown(root / "dir/file", 3_000_000, 7)
    os.link(root / "dir/file", root / "hard")
    (root / ("é" * 40 + "n" * 150)).write_text("long name")
    (root / "link").symlink_to("t" * 200)
    os.setxattr(root / "dir", "user.note", b"binary \0\n\xff")
    os.mkfifo(root / "fifo")
    overlay.make_whiteout(os.open(root, os.O_RDONLY), "gone")
    overlay.make_opaque(os.open(root / "dir", os.O_RDONLY), "sub")
    os.utime(root / "dir", (1, -5))
    return root


def test_pack_and_unpack_round_trip(tree, tmp_path):
    data = packed(tree)
    unpacked(data, tmp_path / "copy")
    assert packed(tmp_path / "copy") == data
    assert os.getxattr(tmp_path / "copy/dir", "user.note") == b"binary \0\n\xff"
    assert overlay.is_whiteout((tmp_path / "copy/gone").lstat())


@pytest.mark.parametrize(("depth", "name"), [(3000, "d"), (40, "n" * 255)])
def test_trees_of_any_depth_are_packed_and_unpacked(tmp_path, depth, name):
    tops = tmp_path / "source", tmp_path / "target"
    for top in tops:
        top.mkdir()
    fds = [os.open(top, os.O_RDONLY | os.O_DIRECTORY) for top in tops]
    try:
        make_deep(fds[0], depth, name)
        pieces = []
        pack(fds[0], pieces.append)
        unpack(iter([b"".join(pieces)]), fds[1], "deep")
        found = [
            subprocess.run(["find", ".", "-printf", "%m %d %T@ %f\\n"], cwd=top, stdout=subprocess.PIPE, check=True)
            for top in tops
        ]
        assert len(found[1].stdout.splitlines()) == depth + 2
        assert found[1].stdout.splitlines()[-1].split()[:2] == [b"640", b"%d" % (depth + 1)]
    finally:
        for fd in fds:
            os.close(fd)
        subprocess.run(["rm", "-rf", *tops], check=True)  # pytest cannot remove them


def test_gnu_tar_reads_the_archive(tree, tmp_path):
    data = packed(tree)
    names = tarfile.open(fileobj=io.BytesIO(data)).getnames()
    assert ".wh.gone" in names
    assert "dir/sub/.wh..wh..opq" in names
    copy = tmp_path / "gnu"
    copy.mkdir()
    subprocess.run(["tar", "-C", copy, "--xattrs", "-xf", "-"], input=data, check=True)
    assert (copy / "dir/file").stat().st_uid == 3_000_000
    assert (copy / "hard").stat().st_ino == (copy / "dir/file").stat().st_ino
    assert (copy / ("é" * 40 + "n" * 150)).read_text() == "long name"


def test_the_order_of_creation_does_not_matter(tmp_path):
    for number, names in enumerate((("a", "b", "c"), ("c", "a", "b"))):
        (tmp_path / str(number)).mkdir()
        for name in names:
            (tmp_path / str(number) / name).write_text(name)
            os.utime(tmp_path / str(number) / name, (1, 1))
    assert packed(tmp_path / "0") == packed(tmp_path / "1")


def test_the_root_only_when_asked_for(tree):
    assert not packed(tree).startswith(b"./")
    assert packed(tree, root_entry=True).startswith(b"./\0")


@given(st.binary(min_size=1, max_size=20), st.binary(max_size=1100))
def test_record_lengths_count_themselves(key, value):
    record = _record(key, value)
    assert int(record.partition(b" ")[0]) == len(record)


NAMES = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..") and not name.startswith(".wh.") and len(name.encode()) < 250
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, st.binary(max_size=2000), max_size=5), st.integers(0, 2**33), st.integers(0, 2**31))
def test_any_tree_survives(tmp_path, files, mtime, uid):
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    try:
        for name, content in files.items():
            (source / name).write_bytes(content)
            os.chown(source / name, uid, 0)
            os.utime(source / name, (0, mtime))
        data = packed(source)
        unpacked(data, copy)
        assert packed(copy) == data
        assert {path.name: path.read_bytes() for path in copy.iterdir()} == files
    finally:
        parent = os.open(tmp_path, os.O_RDONLY)
        for name in ("source", "copy"):
            if (tmp_path / name).exists():
                remove_at(parent, name)
        os.close(parent)
