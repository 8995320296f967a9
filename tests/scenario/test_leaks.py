"""Whatever fails at the end of a test, its remains are removed before the next one."""

import pytest

from tests.scenario.leaks import Observed, nothing_left


@pytest.fixture
def done(monkeypatch):
    """The steps in order; a non-empty `left` means a leak."""
    found = []
    monkeypatch.setattr(Observed, "now", classmethod(lambda cls, roots: cls({})))
    monkeypatch.setattr(
        Observed, "leaks", lambda self, roots: found.append("look") or ["link veth0"] * (roots == "leak")
    )
    monkeypatch.setattr(Observed, "clean", lambda self, roots: found.append("clean"))
    return found


def test_clean_exit_has_no_leaks(done):
    with nothing_left("roots"):
        pass
    assert done == ["look"]


def test_leaks_are_found(done):
    with pytest.raises(AssertionError, match="left behind:\nlink veth0"), nothing_left("leak"):
        pass
    assert done == ["look", "clean"]


def test_an_end_that_fails(done):
    with pytest.raises(TimeoutError), nothing_left("roots"):
        raise TimeoutError
    assert done == ["clean"]
