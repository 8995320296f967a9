"""Recordings are used again for containers of the same shape, and then equal those made for the container itself."""

import copy
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.keeper.script import shapes
from engine.keeper.script.recording import Unscripted
from engine.kernel import idmap

pytestmark = pytest.mark.skipif(not idmap.initial(), reason="needs the initial user namespace")

LONG = 200


def bundle_of(container_id, *, hosts="", secret="", hostname="", cwd="/", image="layer"):
    """A bundle as the session writes it, with the keys that steps before the pause read, and others."""
    folder = f"/state/groups/shop/{container_id}"
    flags = ["nosuid", "nodev", "noexec"]
    return {
        "namespaces": dict.fromkeys(("mount", "net", "pid", "ipc", "uts", "cgroup"), "new") | {"user": "host"},
        "user": None,
        "rootfs": {
            "layers_folder": "/state/layers",
            "layers": ["mountpoints/diff", f"{image}/diff"],
            "upper": f"{folder}/upper",
            "work": f"{folder}/work",
            "root": f"{folder}/upper",
            "features": "index=off",
            "read_only": False,
        },
        "mounts": [
            {"type": "proc", "target": "/proc", "flags": flags},
            {"type": "tmpfs", "target": "/dev", "flags": ["nosuid"], "data": "mode=755,size=65536k"},
            {"type": "file", "target": "/etc/hosts", "content": hosts, "mode": 0o644, "read_only": False},
            {"type": "file", "target": "/etc/hostname", "content": f"{hostname or container_id[:12]}\n"},
            {"type": "file", "target": "/run/secrets/key", "content": secret, "uid": 5, "gid": 6, "mode": 0o400},
            {"type": "bind", "source": f"/sys/fs/cgroup/memory/{container_id}", "target": "/cgroup", "flags": flags},
        ],
        "devices": [],
        "privileged": False,
        "masked_paths": ["/proc/kcore"],
        "read_only_paths": ["/proc/sys"],
        "sysctls": {"net.ipv4.ping_group_range": "0 1"},
        "cgroup_procs": [f"/sys/fs/cgroup/memory/{container_id}/tasks"],
        "dns": 53,
        "hostname": hostname or container_id[:12],
        "domainname": "",
        "process": {
            "args": ["true"],
            "env": {},
            "cwd": cwd,
            "tty": False,
            "stdin": False,
            "init": False,
            "seccomp": "",
        },
        "run_folder": f"/run/shop/{container_id}",
        "exit_file": f"{folder}/exit.json",
    }


def new_id():
    return os.urandom(32).hex()


TEXTS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=LONG)


@given(hosts=TEXTS, secret=TEXTS, hostname=st.sampled_from(["", "web", "f" * 12]), cwd=st.sampled_from(["/", "/a/b"]))
def test_a_recording_that_is_used_again_equals_one_of_its_own(hosts, secret, hostname, cwd):
    for number in range(2):
        own = new_id()
        bundle = bundle_of(own, hosts=f"{number}{own}{hosts}", secret=f"{secret}{number}", hostname=hostname, cwd=cwd)
        before = copy.deepcopy(bundle)
        recording, contents = shapes.recorded(bundle, [1, 2])
        wanted = shapes.record(bundle, [1, 2])
        assert (recording.operations, contents) == (wanted.operations, wanted.contents)
        assert bundle == before


def test_containers_of_one_shape_share_a_recording_and_nothing_else():
    first, second = new_id(), new_id()
    one, _ = shapes.recorded(bundle_of(first, hosts="a" * LONG, secret="s" * LONG), [1, 2])
    other, contents = shapes.recorded(bundle_of(second, hosts="b" * LONG, secret="t" * LONG), [1, 2])
    assert one is other
    assert second.encode() in contents and first[:12].encode() not in contents
    assert b"b" * LONG in contents and b"a" * LONG not in contents and b"s" * LONG not in contents
    assert b"s" * LONG not in one.contents, "it keeps the contents of no file"


@pytest.mark.parametrize(
    "changes",
    [{"image": "other"}, {"cwd": "/work"}, {"hostname": "web"}, {"hosts": "a" * (LONG + 1)}],
    ids=lambda changes: next(iter(changes)),
)
def test_shapes_have_separate_recordings(changes):
    plain = {"hosts": "a" * LONG}
    one, _ = shapes.recorded(bundle_of(new_id(), **plain), [1, 2])
    other, _ = shapes.recorded(bundle_of(new_id(), **{**plain, **changes}), [1, 2])
    third, _ = shapes.recorded(bundle_of(new_id(), **plain), [0, 1, 2])
    assert one is not other
    assert third.contents == one.contents


class Watched(dict):
    """A dictionary of which only the keys `known` may be read."""

    def __init__(self, content, known):
        super().__init__(content)
        self.known = known

    def __getitem__(self, key):
        assert key in self.known
        return super().__getitem__(key)

    def get(self, key, default=None):
        assert key in self.known
        return super().get(key, default)


def test_steps_before_the_pause_read_only_what_a_shape_depends_on():
    bundle = bundle_of(new_id())
    bundle["process"] = Watched(bundle["process"], shapes._PROCESS)
    shapes.record(Watched(bundle, [*shapes._BUNDLE, "mounts", "process"]), [1, 2])


def test_few_recordings_are_kept():
    for number in range(30):
        shapes.recorded(bundle_of(new_id(), cwd=f"/{number}"), [1, 2])
    assert len(shapes._shapes) < 10


def test_direct_steps_are_not_recorded():
    bundle = bundle_of(new_id())
    bundle["process"]["init"] = True
    with pytest.raises(Unscripted, match="init"):
        shapes.recorded(bundle, [1, 2])
