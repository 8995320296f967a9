"""Watching on the real kernel: each test waits for the descriptor, and never sleeps."""

from __future__ import annotations

import os
import select
from pathlib import Path

from engine.paths import Roots
from engine.watch.group import GroupsWatch, GroupWatch
from engine.watch.tree import TreeWatch


def news(watch: GroupWatch | TreeWatch) -> set[str]:
    assert select.select([watch.fileno()], [], [], 5)[0], "nothing came"
    return watch.read()


def test_logs_states_and_new_containers_of_a_group(tmp_path: Path) -> None:
    watch = GroupWatch(Roots(str(tmp_path / "state"), str(tmp_path / "run")), "shop")
    try:
        assert watch.read() == set()
        folder = tmp_path / "state/groups/shop/c1"
        folder.mkdir()
        assert news(watch) == {"", "c1"}
        (folder / "json.log").write_text("x")
        assert news(watch) == {"c1"}
        (folder / "state.json.new").write_text("x")
        os.replace(folder / "state.json.new", folder / "state.json")
        assert news(watch) == {"c1"}
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        assert "" in news(watch)
        folder.mkdir()
        assert "c1" in news(watch)
    finally:
        watch.close()


def test_log_written_before_its_folder_was_watched_is_reported(tmp_path: Path) -> None:
    watch = GroupWatch(Roots(str(tmp_path), str(tmp_path)), "shop")
    folder = tmp_path / "groups/shop/c1"
    folder.mkdir()
    (folder / "json.log").write_text("early")
    assert news(watch) == {"", "c1"}
    watch.close()


def test_a_group_that_was_removed_and_created_again_is_still_watched(tmp_path: Path) -> None:
    watch = GroupWatch(Roots(str(tmp_path), str(tmp_path)), "shop")
    folder = tmp_path / "groups/shop"
    folder.rmdir()
    folder.mkdir()
    assert "" in news(watch)
    (folder / "c1").mkdir()
    assert "c1" in news(watch)
    watch.close()


def test_many_groups_need_one_instance(tmp_path: Path) -> None:
    """A user has 128 inotify instances by default."""
    watch = GroupsWatch(Roots(str(tmp_path), str(tmp_path)))
    groups = [f"g{number}" for number in range(200)]
    for group in groups:
        watch.add(group)
        (tmp_path / "groups" / group / "c").mkdir()
    found: dict[str, set[str]] = {}
    while len(found) < len(groups):
        assert select.select([watch.fileno()], [], [], 5)[0], "nothing came"
        found |= watch.read()
    assert all(found[group] == {"", "c"} for group in groups)
    watch.remove("g0")
    (tmp_path / "groups/g0/d").mkdir()
    (tmp_path / "groups/g1/d").mkdir()
    assert select.select([watch.fileno()], [], [], 5)[0], "nothing came"
    assert watch.read() == {"g1": {"", "d"}}
    watch.close()


def test_changes_in_a_tree(tmp_path: Path) -> None:
    (tmp_path / "src/deep").mkdir(parents=True)
    (tmp_path / "src/node_modules").mkdir()
    (tmp_path / "one.txt").write_text("1")
    root = str(tmp_path)
    watch = TreeWatch([f"{root}/src", f"{root}/one.txt"], skip=lambda path: path.endswith("/node_modules"))
    try:
        (tmp_path / "src/deep/a.py").write_text("a")
        assert news(watch) == {f"{root}/src/deep/a.py"}
        (tmp_path / "other.txt").write_text("x")
        (tmp_path / "src/node_modules/b.js").write_text("b")
        (tmp_path / "new").write_text("2")
        os.replace(tmp_path / "new", tmp_path / "one.txt")
        assert news(watch) == {f"{root}/one.txt"}
        (tmp_path / "src/more").mkdir()
        (tmp_path / "src/more/c.py").write_text("c")
        assert f"{root}/src/more/c.py" in news(watch)
        (tmp_path / "src/deep/a.py").unlink()
        assert f"{root}/src/deep/a.py" in news(watch)
    finally:
        watch.close()


def test_missing_path_is_awaited(tmp_path: Path) -> None:
    root = str(tmp_path)
    watch = TreeWatch([f"{root}/a/b/data", f"{root}/one.txt", f"{root}/c"])
    try:
        (tmp_path / "other").mkdir()
        assert watch.read() == set()
        (tmp_path / "one.txt").write_text("1")
        assert news(watch) == {f"{root}/one.txt"}
        (tmp_path / "a/b").mkdir(parents=True)
        watch.read()
        (tmp_path / "a/b/data").mkdir()
        assert news(watch) == {f"{root}/a/b/data"}
        (tmp_path / "a/b/data/file").write_text("x")
        assert f"{root}/a/b/data/file" in news(watch)
        (tmp_path / "c/empty").mkdir(parents=True)
        assert f"{root}/c" in news(watch) | watch.read()
    finally:
        watch.close()


def test_empty_folder_is_reported(tmp_path: Path) -> None:
    watch = TreeWatch([str(tmp_path)])
    try:
        (tmp_path / "empty").mkdir()
        assert news(watch) == {f"{tmp_path}/empty"}
    finally:
        watch.close()
