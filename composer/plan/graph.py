"""The dependency graph: start order, cycles, and the critical path. Only this module uses networkx. Its import takes 70
ms, so it is loaded only when the edges have changed since the order was last computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from composer.plan.desired import Desired, DesiredService

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    import networkx

Edge = tuple[str, str]
"""A service, and a service that waits for it."""


class CycleError(Exception):
    """A dependency cycle; the message shows it."""


def edges(services: Iterable[DesiredService]) -> set[Edge]:
    """The edges of the graph: `depends_on`, shared namespaces, and volumes_from."""
    return {
        (name, service.name)
        for service in services
        for name in (*(one.service for one in service.depends_on), *service.linked)
    }


def order(services: Iterable[DesiredService], before: Desired | None = None) -> tuple[str, ...]:
    """The services, dependencies first, otherwise by name. Raises CycleError.

    `before` is an earlier state of the project. Its order is reused when neither names nor edges have changed.
    """
    services = list(services)
    names = sorted(service.name for service in services)
    wanted = {(needed, name) for needed, name in edges(services) if needed in names}  # jobs are not part of the order
    if not wanted:
        return tuple(names)
    if before is not None and sorted(before.order) == names and edges(before.services.values()) == wanted:
        return before.order
    import networkx

    graph = _graph(names, wanted)
    try:
        return tuple(networkx.lexicographical_topological_sort(graph))
    except networkx.NetworkXUnfeasible:
        circle = [edge[0] for edge in networkx.find_cycle(graph)]
        # Edges lead from a dependency to its dependant; the message shows the opposite direction.
        circle.reverse()
        start = circle.index(min(circle))
        shown = [*circle[start:], *circle[:start], circle[start]]
        raise CycleError(f"dependency cycle detected: {' -> '.join(shown)}") from None


def waves(needs: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Groups of services that can start together. Each service waits for one of the previous group, and for none of its
    own group.

    `needs` maps each service to those that it waits for. Raises CycleError.
    """
    import networkx

    try:
        return [sorted(wave) for wave in networkx.topological_generations(_needed(needs))]
    except networkx.NetworkXUnfeasible:
        raise CycleError("the services depend on each other in a cycle") from None


def critical_path(needs: Mapping[str, Iterable[str]]) -> list[str]:
    """The longest chain of services that wait for each other, dependencies first. No start can take less time."""
    import networkx

    return list(networkx.dag_longest_path(_needed(needs)))


def circles(needs: Mapping[int, Iterable[int]]) -> list[set[int]]:
    """The sets of operations that wait for each other in a circle. Others are ignored, as are needs outside the map."""
    found = {(before, one) for one, befores in needs.items() for before in befores if before in needs}
    if not found.intersection((one, before) for before, one in found) and len(found) < 3:
        return []  # without the import
    import networkx

    graph: networkx.DiGraph[int] = networkx.DiGraph(found)
    return [one for one in networkx.strongly_connected_components(graph) if len(one) > 1]


def _needed(needs: Mapping[str, Iterable[str]]) -> networkx.DiGraph[str]:
    return _graph(
        sorted(needs), {(other, name) for name, others in needs.items() for other in others if other in needs}
    )


def _graph(names: Iterable[str], wanted: Iterable[Edge]) -> networkx.DiGraph[str]:
    import networkx

    graph: networkx.DiGraph[str] = networkx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from(sorted(wanted))
    return graph
