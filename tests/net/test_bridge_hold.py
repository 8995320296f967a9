"""Holds of the network `bridge`."""

import os

from engine.net import bridge_hold
from engine.paths import Roots


def test_last_holder_removes_the_lock_file(tmp_path):
    roots = Roots(str(tmp_path / "s"), str(tmp_path / "r"))
    assert not bridge_hold.is_held(roots)
    first, second = bridge_hold.hold(roots), bridge_hold.hold(roots)
    assert bridge_hold.is_held(roots)
    bridge_hold.release(roots, first)
    assert bridge_hold.is_held(roots)
    bridge_hold.release(roots, second)
    assert not bridge_hold.is_held(roots) and os.listdir(roots.run) == []


def test_a_killed_holder_does_not_count(tmp_path):
    roots = Roots(str(tmp_path / "s"), str(tmp_path / "r"))
    os.close(bridge_hold.hold(roots))  # as the kernel does
    assert not bridge_hold.is_held(roots) and os.listdir(roots.run) == []
