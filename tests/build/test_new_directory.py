"""Writing beside overlayfs produces the same layers as writing through it."""

import os

import pytest

from engine.build.new_directory import NewDirectory
from engine.filetree.long_path import open_below

DOCKERFILES = {
    "a new directory": "COPY . /to/",
    "below new directories": "COPY tree /one/two/three",
    "an old directory": "COPY tree /usr/",
    "through a link of the base": "COPY tree /lib/new\nCOPY tree /lib/",
    "onto itself": "COPY . /to/\nCOPY tree /to/\nCOPY other /to/sub",
    "two sources": "COPY tree other /to/",
    "what was removed before": "FROM base AS a\nCOPY tree /to/\nFROM a\nCOPY other /to/sub/more",
    "another owner and mode": "COPY --chown=web:staff --chmod=640 . /to/",
    "with parents": "COPY --parents tree/./sub /to/",
    "from a stage": "COPY tree /to/\nFROM base\nCOPY --from=0 / /all/",
}


@pytest.fixture
def tree(context):
    context.write(
        {
            "tree/a": "a",
            "tree/empty": None,
            "tree/sub/big": os.urandom(200_000),
            "tree/sub/more/deep": "deep",
            "other/sub/more/x": "x",
            "other/y": "",
        }
    )
    os.link(context.path / "tree/a", context.path / "tree/sub/linked")
    os.link(context.path / "tree/a", context.path / "tree/linked")
    os.symlink("sub", context.path / "tree/link")
    os.chmod(context.path / "tree/sub", 0o2751)
    os.mkfifo(context.path / "tree/sub/fifo")
    for top, folders, files in os.walk(context.path):
        for name in folders + files:
            os.utime(f"{top}/{name}", (1_700_000_000, 1_700_000_000), follow_symlinks=False)


@pytest.mark.parametrize("dockerfile", DOCKERFILES.values(), ids=DOCKERFILES)
def test_layers_equal_those_of_mkdir(builder, base, tree, dockerfile, monkeypatch):
    environment = {"SOURCE_DATE_EPOCH": "1700000000"}
    fresh = builder(f"FROM base\n{dockerfile}", args=environment)
    monkeypatch.setattr(NewDirectory, "begin", lambda self, path: None)
    assert builder(f"FROM base\n{dockerfile}", args=environment, no_cache=True).id == fresh.id


def test_files_go_past_the_overlay(builder, base, tree, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "engine.build.new_directory.open_below",
        lambda root, path, how: opened.append(path) or open_below(root, path, how),
    )
    builder("FROM base\nCOPY . /to/")
    builder("FROM base\nCOPY . /usr/")
    assert opened == ["to", "usr/other", "usr/tree"]
