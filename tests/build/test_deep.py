"""Contexts and images that are deeper than the longest path."""

import os
import subprocess

import pytest

from tests.deep import make_deep

DEPTH = 3000


@pytest.fixture(autouse=True)
def _removed(tmp_path):
    """pytest cannot remove deep trees."""
    yield
    subprocess.run(["rm", "-rf", tmp_path], check=True)


def status(images, record, depth):
    """The path of the directory so many levels below /x in the image."""
    from engine.image.merged import merged

    with merged([images.layers.path(folder) for folder in record.layers]) as fd:
        here = os.open("x", os.O_RDONLY, dir_fd=fd)
        for _ in range(depth):
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        found = os.fstat(here), os.listdir(here)
        os.close(here)
    return found


def test_a_deep_context_is_copied(builder, images, few_descriptors):
    root = os.open(builder.context.path, os.O_RDONLY)
    make_deep(root, DEPTH)
    os.utime("d", ns=(0, 10**18), dir_fd=root)
    os.utime("d/d", ns=(0, 10**18 + 5), dir_fd=root)
    os.close(root)
    record = builder("FROM scratch\nCOPY . /x")
    assert status(images, record, DEPTH)[1] == ["end"]
    assert [status(images, record, depth)[0].st_mtime_ns for depth in (1, 2)] == [10**18, 10**18 + 5]
    again = builder("FROM scratch AS a\nCOPY . /x\nFROM scratch\nCOPY --from=a /x /x")
    assert status(images, again, DEPTH)[1] == ["end"]


def test_times_of_directories_that_a_copy_goes_in_and_out_of(builder, base):
    for name in ("a/b/c", "a/b", "a/d", "a", "e/f", "e"):
        folder = builder.context.path / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").write_text(name)
    for number, name in enumerate(("a/b/c", "a/b", "a/d", "a", "e/f", "e")):
        os.utime(builder.context.path / name, ns=(0, 10**18 + number))
    record = builder("FROM base\nCOPY . /x", files={".dockerignore": "a/b\n!a/b/c\n"})
    found = {name: builder.stat(record, f"x/{name}").st_mtime_ns - 10**18 for name in ("a/b/c", "a/d", "a", "e/f", "e")}
    assert found == {"a/b/c": 0, "a/d": 2, "a": 3, "e/f": 4, "e": 5}
