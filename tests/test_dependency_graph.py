import sys

import pytest

from composer.dependency_graph import CycleError, check_acyclic, critical_path, order, waves

NEEDS = {"web": ["api", "cache"], "api": ["db"], "cache": [], "db": [], "job": ["db", "elsewhere"]}


def test_waves_and_critical_path():
    assert waves(NEEDS) == [["cache", "db"], ["api", "job"], ["web"]]
    assert critical_path(NEEDS) == ["db", "api", "web"]


@pytest.mark.parametrize("function", [check_acyclic, order, waves])
def test_every_function_names_the_same_cycle(function):
    with pytest.raises(CycleError, match=r"^dependency cycle detected: a -> c -> b -> a$") as raised:
        function({"d": ["a"], "c": ["b"], "b": ["a"], "a": ["c", "elsewhere"]})
    assert raised.value.names == ["a", "c", "b"]


def test_networkx_is_not_loaded_to_find_no_cycle(monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    check_acyclic(NEEDS)
