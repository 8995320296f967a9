"""The graph of services and jobs that need each other: cycles, start order, the critical path. Only this module uses networkx.

Its import takes 70 ms, so it is put off until a cycle must be named, or edges have changed since the last order.
"""

from __future__ import annotations

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import TypeVar

    import networkx

    Node = TypeVar("Node", int, str)
    Needs = Mapping[Node, Collection[Node]]
    """Name → the names that it needs. Names that are not keys are ignored."""


class CycleError(Exception):
    """A dependency cycle. `names` starts with the name that sorts first, and each needs the next one."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"dependency cycle detected: {' -> '.join([*names, names[0]])}")
        self.names = names


def check_acyclic(needs: Needs[str]) -> None:
    """Raises CycleError."""
    if not _is_acyclic(needs):
        raise _cycle(_graph(needs))


def order(needs: Needs[str]) -> tuple[str, ...]:
    """The names, each after those that it needs, otherwise sorted. Raises CycleError."""
    import networkx

    graph = _graph(needs)
    try:
        return tuple(networkx.lexicographical_topological_sort(graph))
    except networkx.NetworkXUnfeasible:
        raise _cycle(graph) from None


def waves(needs: Needs[str]) -> list[list[str]]:
    """Groups of names that can start together. Each needs one of the previous group, and none of its own group. Raises
    CycleError."""
    import networkx

    graph = _graph(needs)
    try:
        return [sorted(wave) for wave in networkx.topological_generations(graph)]
    except networkx.NetworkXUnfeasible:
        raise _cycle(graph) from None


def critical_path(needs: Needs[str]) -> list[str]:
    """The longest chain of names that need each other, dependencies first. No start can take less time."""
    import networkx

    return list(networkx.dag_longest_path(_graph(needs)))


def cyclic_groups(needs: Needs[int]) -> list[set[int]]:
    """The groups of numbers that need each other, directly or not."""
    if _is_acyclic(needs):
        return []
    import networkx

    return [group for group in networkx.strongly_connected_components(_graph(needs)) if len(group) > 1]


def _is_acyclic(needs: Needs[Node]) -> bool:
    """A quick test without networkx."""
    if not any(needs.values()):
        return True
    import graphlib

    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError:
        return False
    return True


def _cycle(graph: networkx.DiGraph[str]) -> CycleError:
    """A cycle of a graph that has one."""
    import networkx

    names = [edge[0] for edge in networkx.find_cycle(graph)]
    names.reverse()  # edges lead from a name to those that need it
    start = names.index(min(names))
    return CycleError([*names[start:], *names[:start]])


def _graph(needs: Needs[Node]) -> networkx.DiGraph[Node]:
    import networkx

    graph: networkx.DiGraph[Node] = networkx.DiGraph()
    graph.add_nodes_from(sorted(needs))
    graph.add_edges_from(sorted((other, name) for name, others in needs.items() for other in others if other in needs))
    return graph
