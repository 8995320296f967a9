"""Holds of the network `bridge`."""

import os

from engine.net import held
from engine.paths import Roots


def test_last_holder_removes_the_lock_file(tmp_path):
    roots = Roots(str(tmp_path / "s"), str(tmp_path / "r"))
    assert not held.is_held(roots)
    first, second = held.hold(roots), held.hold(roots)
    assert held.is_held(roots)
    held.release(roots, first)
    assert held.is_held(roots)
    held.release(roots, second)
    assert not held.is_held(roots) and os.listdir(roots.run) == []


def test_a_killed_holder_does_not_count(tmp_path):
    roots = Roots(str(tmp_path / "s"), str(tmp_path / "r"))
    os.close(held.hold(roots))  # as the kernel does
    assert not held.is_held(roots) and os.listdir(roots.run) == []
