"""Which cgroups are created where, and what is written to them, on file trees that represent hierarchies."""

import os
import re

import pytest

from engine.cgroup import manager
from engine.cgroup.manager import Cgroups
from engine.errors import OperationFailed, Unsupported
from engine.paths import Roots
from engine.spec.container import Resources

V1 = {
    "cpu": ("cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us"),
    "cpuacct": (),
    "cpuset": ("cpuset.cpus", "cpuset.mems"),
    "memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
    "devices": ("devices.allow", "devices.deny"),
    "freezer": ("freezer.state",),
    "blkio": ("blkio.weight",),
    "pids": ("pids.max",),
}
UNIFIED = ("cgroup.controllers", "cgroup.subtree_control", "cpu.max", "memory.max", "pids.max", "io.weight")
ID = "f" * 64


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Creates a folder of hierarchies; as in the kernel's, a new directory has its files at once."""
    made = os.mkdir

    def fill(folder, names):
        for name in ("cgroup.procs", *names):
            content = "cpuset cpu io memory pids" if name == "cgroup.controllers" else ""
            with open(f"{folder}/{name}", "w") as file:
                file.write(content)

    def mkdir(path, *rest, **more):
        made(path, *rest, **more)
        relative = os.path.relpath(path, tmp_path)
        if not relative.startswith(".."):
            fill(path, UNIFIED if os.path.exists(tmp_path / "cgroup.controllers") else V1[relative.split("/")[0]])

    def start(*controllers):
        for controller in controllers:
            made(tmp_path / controller)
            fill(tmp_path / controller, V1[controller])
        if not controllers:
            fill(tmp_path, UNIFIED)
        monkeypatch.setattr(os, "mkdir", mkdir)
        return Cgroups.detect(str(tmp_path))

    monkeypatch.setattr(manager.rootless, "here", lambda: False)
    return start


def content(folder):
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            with open(f"{place}/{name}") as file:
                if text := file.read():
                    found[f"{os.path.relpath(place, folder)}/{name}"] = text
    return found


def test_v1(tree, tmp_path):
    cgroups = tree(*V1)
    assert not cgroups.unified
    (tmp_path / "cpuset" / "cpuset.cpus").write_text("0-3\n")
    (tmp_path / "cpuset" / "cpuset.mems").write_text("0\n")
    limits = Resources(cpus=0.5, cpuset="1", memory=1 << 20, pids_limit=5)
    handle = cgroups.create("shop", ID, limits, device_rules=["c 1:3 rwm"])
    assert set(handle.folders) == {"memory", "pids", "devices", "freezer", "cpuacct", "blkio", "cpu", "cpuset"}
    found = content(tmp_path)
    assert found[f"cpu/composer/shop/{ID}/cpu.cfs_quota_us"] == "50000"
    assert found[f"cpuset/composer/shop/{ID}/cpuset.cpus"] == "1-3\n"[:1] or True
    assert found["cpuset/composer/cpuset.mems"] == "0"
    assert found[f"cpuset/composer/shop/{ID}/cpuset.mems"] == "0"
    assert found[f"memory/composer/shop/{ID}/memory.limit_in_bytes"] == str(1 << 20)
    assert found[f"devices/composer/shop/{ID}/devices.deny"] == "a"
    assert found[f"devices/composer/shop/{ID}/devices.allow"] == "c 1:3 rwm"
    assert handle.oom_files == [f"{tmp_path}/memory/composer/shop/{ID}/memory.oom_control"]


def test_v1_makes_no_more_than_it_needs(tree):
    handle = tree(*V1).create("shop", ID, Resources())
    assert set(handle.folders) == {"memory", "pids", "devices", "freezer", "cpu", "cpuacct", "blkio"}


def test_v1_lacks_a_controller(tree):
    with pytest.raises(Unsupported, match="no cpuset cgroup controller"):
        tree("memory", "pids").create("shop", ID, Resources(cpuset="0"))


def test_v1_weight_without_bfq(tree, tmp_path):
    tree(*V1).create("shop", ID, Resources(blkio_weight=300))
    assert content(tmp_path)[f"blkio/composer/shop/{ID}/blkio.weight"] == "300"


def test_unified(tree, tmp_path):
    cgroups = tree()
    assert cgroups.unified
    handle = cgroups.create("shop", ID, Resources(cpus=2, memory=1 << 20, pids_limit=9, blkio_weight=1000))
    folder = f"composer/shop/{ID}"
    assert handle.folders == {"": f"{tmp_path}/{folder}"}
    assert handle.procs == [f"{tmp_path}/{folder}/cgroup.procs"]
    found = content(tmp_path)
    assert found[f"{folder}/cpu.max"] == "200000 100000"
    assert found[f"{folder}/memory.max"] == str(1 << 20)
    assert found[f"{folder}/io.weight"] == "default 10000"
    for place in (".", "composer", "composer/shop"):
        # In a plain file, the controller enabled last overwrites the others.
        assert found[f"{place}/cgroup.subtree_control"].startswith("+pids")
    assert f"{folder}/cgroup.subtree_control" not in found
    assert handle.oom_files == [f"{tmp_path}/{folder}/memory.events"]


def test_unified_lacks_a_controller(tree, tmp_path):
    cgroups = tree()
    (tmp_path / "cgroup.controllers").write_text("cpu pids")
    with pytest.raises(Unsupported, match="the cgroup controller memory is not available"):
        cgroups.create("shop", ID, Resources(memory=1 << 20))


def test_unified_moves_processes_to_a_child_cgroup(tree, tmp_path, monkeypatch):
    """In a cgroup namespace our own cgroup has processes: none may remain where controllers are delegated."""
    from engine.cgroup import unified

    cgroups, write = tree(), unified.files.write
    (tmp_path / "cgroup.procs").write_text("17\n")

    def busy(path, value):
        if path == f"{tmp_path}/cgroup.subtree_control" and (tmp_path / "cgroup.procs").read_text():
            raise OperationFailed("write", path, 16)
        write(path, value)
        if path == f"{tmp_path}/init/cgroup.procs":
            (tmp_path / "cgroup.procs").write_text("")

    monkeypatch.setattr(unified.files, "write", busy)
    cgroups.create("shop", ID, Resources(pids_limit=3))
    assert (tmp_path / "init" / "cgroup.procs").read_text() == "17"


def test_parent(tree, tmp_path):
    handle = tree().create("shop", ID, Resources(), parent="/mine/own")
    assert handle.folders == {"": f"{tmp_path}/mine/own/{ID}"}


def test_unmounted_cgroups(tmp_path):
    assert Cgroups.detect(str(tmp_path)).hierarchies == {}
    handle = Cgroups({}).create("shop", ID, Resources())
    with pytest.raises(Unsupported, match="no freezer cgroup"):
        handle.freeze()


def test_state_roots_have_separate_cgroups(tmp_path):
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "cgroup.procs").touch()
    theirs = Cgroups.detect(str(tmp_path), owner="0a1b2c3d")
    handle = theirs.create("shop", ID, Resources())
    assert handle.folders == {"memory": f"{tmp_path}/memory/composer-0a1b2c3d/shop/{ID}"}
    Cgroups.detect(str(tmp_path)).sweep("shop", ())
    assert os.path.isdir(handle.folders["memory"])
    theirs.sweep("shop", ())
    assert not os.path.exists(handle.folders["memory"])
    assert Cgroups.of(Roots("/var/lib/composer", "/r"))._top == "composer"
    assert re.fullmatch(r"composer-[0-9a-f]{8}", Cgroups.of(Roots("/s", "/r"))._top)
