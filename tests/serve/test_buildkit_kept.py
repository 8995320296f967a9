"""A client whose sessions have a key sends only what has changed since its last build."""

import os
import stat
import time

import anyio
import pytest

from composer.serve.buildkit import kept, wire
from composer.serve.buildkit.files import Entry, _Tree
from composer.serve.buildkit.session import SHARED_KEY
from engine.paths import Roots
from tests.serve.test_buildkit import Client, upgraded

DIR, SYMLINK = 1 << 31, 1 << 27
OLD = 1_700_000_000_000_000_000


class Keyed(Client):
    """`requested`: the files of the context that the server requested."""

    def __init__(self, files):
        super().__init__({"context": files, "dockerfile": files}, {})
        self.requested = []

    async def offer(self, call):
        if "followpaths" in call.metadata:
            return await super().offer(call)
        files = self.folders["context"]
        names = list(files)
        for name in names:
            said = wire.message((1, name), (2, 0o644), (5, len(files[name])), (6, OLD))
            await call.send(wire.message((1, 0)) + wire.block(2, said))
        await call.send(wire.message((1, 0)) + wire.block(2, b""))
        while True:
            packet = wire.fields(await call.receive())
            if wire.number(packet, 1) == 3:
                await call.send(wire.message((1, 3)))
                return
            number = wire.number(packet, 3)
            self.requested.append(names[number])
            await call.send(wire.message((1, 2), (3, number), (4, files[names[number]])))
            await call.send(wire.message((1, 2), (3, number)))


def build(api, client, monkeypatch):
    async def keyed(path, target, *headers):
        return await upgraded(path, target, *headers, *([f"{SHARED_KEY}: k"] if target == "/session" else []))

    monkeypatch.setattr("tests.serve.test_buildkit.upgraded", keyed)
    client.requested.clear()
    client.ref += "x"
    anyio.run(client.build, api.path, {}, "made/kept")
    image = api.get("/images/made/kept/json")["Id"]
    return sorted(client.requested), image


def test_only_changed_files_are_sent(api, monkeypatch):
    files = {"Dockerfile": b"FROM busybox\nCOPY . /d/\nRUN cat /d/a /d/b > /all; ls /d > /list\n", "a": b"A", "b": b"B"}
    client = Keyed(files)
    sent, first = build(api, client, monkeypatch)
    assert sent == ["Dockerfile", "a", "b"]
    assert build(api, client, monkeypatch) == ([], first)
    files["b"] = b"BB"
    sent, second = build(api, client, monkeypatch)
    assert sent == ["b"] and second != first
    del files["a"]
    files["c"] = b"C"
    del files["b"]
    files["b"] = b"B"
    files["Dockerfile"] = (
        b"FROM busybox\nCOPY . /d/\nRUN test ! -e /d/a && cat /d/b | grep -qx B && cat /d/c | grep -qx C\n"
    )
    assert build(api, client, monkeypatch)[0] == ["Dockerfile", "b", "c"]


def listed(folder, *entries):
    """The requested files."""
    tree = _Tree(str(folder))
    try:
        wanted = []
        for number, entry in enumerate(entries):
            if tree.make(number, entry):
                wanted.append(entry.path)
                tree.write(number, b"x" * entry.size) if entry.size else None
                tree.complete(number)
        tree.remove_others()
        tree.settle()
        return wanted
    finally:
        tree.close()


def file(path, size=1, modified=OLD, mode=0o644):
    return Entry(path, mode, modified, "", size)


def test_a_folder_becomes_what_is_listed(tmp_path):
    folder = Entry("d", DIR | 0o755, OLD, "", 0)
    assert listed(tmp_path, file("a"), folder, file("d/x"), file("d/y")) == ["a", "d/x", "d/y"]
    assert listed(tmp_path, file("a"), folder, file("d/x"), file("d/y")) == []
    assert listed(tmp_path, file("a", 2), folder, file("d/x", 1, OLD + 1), file("d/y", mode=0o755)) == [
        "a",
        "d/x",
        "d/y",
    ]
    # A directory becomes a file, and vice versa; a link is recreated.
    link = Entry("l", SYMLINK | 0o777, OLD, "a", 0)
    assert listed(tmp_path, Entry("a", DIR | 0o700, OLD, "", 0), file("a/b"), file("d"), link) == ["a/b", "d"]
    assert listed(tmp_path, Entry("a", DIR | 0o700, OLD, "", 0), file("a/b"), link) == []
    assert sorted(os.listdir(tmp_path)) == ["a", "l"]
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700 and (tmp_path / "a").stat().st_mtime_ns == OLD


def test_hard_links_do_not_carry_a_change_over(tmp_path):
    linked = Entry("b", 0o644, OLD, "a", 1)
    assert listed(tmp_path, file("a"), linked) == ["a"]
    assert (tmp_path / "a").stat().st_nlink == 2
    assert listed(tmp_path, file("a", 3), file("b")) == ["a"]
    assert (tmp_path / "a").stat().st_size == 3 and (tmp_path / "b").read_bytes() == b"x"


def test_broken_transfer_is_repeated(tmp_path):
    tree = _Tree(str(tmp_path))
    tree.make(0, file("a", 4))
    tree.write(0, b"xxxx")
    tree.close()
    assert listed(tmp_path, file("a", 4)) == ["a"]


@pytest.fixture
def empty(tmp_path):
    return Roots(str(tmp_path / "state"), str(tmp_path / "run"))


def test_builds_of_one_context_are_serialised(empty):
    with kept.folder(empty, "k", "context") as one, kept.folder(empty, "k", "context") as two:
        assert one and two is None
        with kept.folder(empty, "k", "other") as other, kept.folder(empty, "", "context") as without:
            assert other not in (None, one) and without is None
    with kept.folder(empty, "k", "context") as again:
        assert again == one


def test_old_ones_and_too_many_go(empty):
    paths = []
    for number in range(kept.KEPT + 3):
        with kept.folder(empty, str(number), "context") as path:
            paths.append(path)
            (open(f"{path}/file", "w")).close()
        os.utime(f"{path}.lock", (time.time() - 1000 + number,) * 2)
    with kept.folder(empty, "0", "context"):
        pass
    there = [os.path.exists(path) for path in paths]
    assert there == [True, False, False, False] + [True] * (kept.KEPT - 1)
    os.utime(f"{paths[5]}.lock", (time.time() - 3 * 86400,) * 2)
    with kept.folder(empty, "0", "context"):
        assert not os.path.exists(paths[5]) and not os.path.exists(f"{paths[5]}.lock")
