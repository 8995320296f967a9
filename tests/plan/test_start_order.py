import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.dependency_graph import CycleError
from composer.plan.desired import Dependency, Desired, DesiredService
from composer.plan.start_order import order
from engine.spec.container import ContainerSpec


def service(name, *needs, **fields):
    container = ContainerSpec(name="", image="", **fields)
    return DesiredService(
        name=name, hash="", image="a", container=container, depends_on=tuple(Dependency(service=n) for n in needs)
    )


def test_dependencies_come_first_then_names_decide():
    assert order([service("c"), service("b", "d"), service("a", "b"), service("d")]) == ("c", "d", "b", "a")


def test_namespaces_are_dependencies():
    assert order([service("a", pid_mode="service:z"), service("z")]) == ("z", "a")


def test_a_cycle_is_shown():
    with pytest.raises(CycleError, match=r"^dependency cycle detected: a -> c -> b -> a$"):
        order([service("a", "c"), service("b", "a"), service("c", "b"), service("d", "a")])


def test_a_service_that_needs_itself():
    with pytest.raises(CycleError, match="a -> a"):
        order([service("a", "a")])


@given(st.permutations(range(8)), st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20))
def test_the_order_is_topological(permutation, pairs):
    edges = {(f"s{max(pair)}", f"s{min(pair)}") for pair in pairs if pair[0] != pair[1]}
    services = [service(f"s{i}", *sorted(need for who, need in edges if who == f"s{i}")) for i in permutation]
    found = order(services)
    assert sorted(found) == [f"s{i}" for i in range(8)]
    assert all(found.index(need) < found.index(who) for who, need in edges)
    assert found == order(sorted(services, key=lambda one: one.name))


def test_an_earlier_order_holds_while_no_edge_changes(monkeypatch):
    services = [service("b", "a"), service("a")]
    before = Desired(project="p", services={one.name: one for one in services}, order=order(services))
    monkeypatch.setitem(sys.modules, "networkx", None)
    assert order(services, before) == ("a", "b") and order([service("z"), service("y")]) == ("y", "z")
    with pytest.raises(ImportError):
        order([service("a", "b"), service("b")], before)
