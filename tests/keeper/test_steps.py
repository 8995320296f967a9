"""Known before a start does anything: which containers a recording cannot start."""

import copy

import pytest

from engine.keeper.child import steps
from engine.kernel import idmap

BUNDLE = {
    "namespaces": {"user": "host", "pid": "new", "mount": "new", "net": "new"},
    "mounts": [
        {"type": "bind", "source": "/usr", "target": "/usr"},
        {"type": "file", "content": "x", "target": "/etc/x"},
    ],
    "devices": [],
    "sysctls": {"net.ipv4.ping_group_range": "0 1"},
    "process": {"tty": False, "init": False, "oom_score_adj": 0},
}


def changed(path, value):
    bundle = copy.deepcopy(BUNDLE)
    *above, last = path
    place = bundle
    for key in above:
        place = place[key]
    place[last] = value
    return bundle


@pytest.mark.skipif(not idmap.initial(), reason="needs the initial user namespace")
def test_a_plain_container_is_recorded():
    assert steps.only_directly(BUNDLE) == ""


@pytest.mark.skipif(not idmap.initial(), reason="needs the initial user namespace")
@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("namespaces", "user"), "new", "user namespace"),
        (("namespaces", "pid"), "/proc/1/ns/pid", "processes"),
        (("namespaces", "mount"), "host", "mounts"),
        (("mounts", 0, "subpath"), "below", "others may change"),
        (("mounts", 0, "of"), "/proc/1/ns/mnt", "others may change"),
        (("mounts", 0, "type"), "image", "image"),
        (("mounts", 1, "content"), None, "wait for"),
        (("mounts", 1, "content"), "x" * 70_000, "large"),
        (("sysctls",), {"net.ipv4.conf.eth0.forwarding": "1"}, "sysctls"),
        (("process", "tty"), True, "terminal"),
        (("process", "init"), True, "init"),
        (("process", "oom_score_adj"), 1, "score"),
    ],
)
def test_direct_steps_are_declared(path, value, reason):
    assert reason in steps.only_directly(changed(path, value))
