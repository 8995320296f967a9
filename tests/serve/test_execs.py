"""Which execs a server remembers."""

from types import SimpleNamespace

import pytest

from composer.serve.docker import execs
from composer.serve.docker.execs import Execs


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(time=0.0)
    monkeypatch.setattr(execs.time, "monotonic", lambda: now.time)
    return now


def exec_of(name, *, running=False):
    return SimpleNamespace(id=name, running=running, exit_code=None)


def test_an_ended_exec_is_forgotten_after_some_minutes(clock):
    known, made, other = Execs(), exec_of("ended"), exec_of("created")
    known.add(made)
    known.add(other)
    known.ended(made, 3)
    clock.time = execs.KEPT
    assert known.get("ended").exit_code == 3
    clock.time += 1
    assert known.get("ended") is None and known.get("created") is other


def test_of_too_many_the_oldest_that_does_not_run_is_forgotten(clock, monkeypatch):
    monkeypatch.setattr(execs, "MOST", 2)
    known = Execs()
    for made in (exec_of("a", running=True), exec_of("b"), exec_of("c")):
        known.add(made)
    assert [name for name in "abc" if known.get(name)] == ["a", "c"]
