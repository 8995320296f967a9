"""Options of mounts whose effect shows only on mounts below them, and options of volumes."""

import os
import subprocess

import pytest

from engine.spec.container import Mount


@pytest.fixture
def tree(tmp_path):
    """A folder with a tmpfs mounted below it."""
    below = tmp_path / "tree" / "below"
    below.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", below], check=True)
    (below / "file").write_text("x")
    yield str(tmp_path / "tree")
    subprocess.run(["umount", below], check=True)


@pytest.mark.parametrize(
    ("recursive", "expected"),
    [
        ("", "file ro ro"),
        ("enabled", "file ro ro"),
        ("readonly", "file ro ro"),
        ("writable", "file ro rw"),
        ("disabled", "ro ro"),
    ],
)
def test_mounts_below_read_only_bind(box, tree, recursive, expected):
    mount = Mount(type="bind", source=tree, target="/tree", read_only=True, recursive=recursive)
    script = "ls /tree/below; for f in /tree /tree/below; do touch $f/new 2>/dev/null && echo rw || echo ro; done"
    assert box.shell(script, mounts=(mount,)).split() == expected.split()
    assert not os.path.exists(f"{tree}/new")


def test_labels_of_an_anonymous_volume(box):
    record = box.create("true", mounts=(Mount(type="volume", target="/data", labels={"a": "b"}),))
    (name,) = record.state.anonymous_volumes
    (volume,) = [one for one in box.engine.volumes() if one.spec.name == name]
    assert volume.spec.labels == {"a": "b"}
    assert volume.spec.anonymous
