"""The order of a project's services: dependencies first. The one place with networkx."""

from __future__ import annotations

from collections.abc import Iterable

import networkx

from composer.plan.desired import DesiredService


class CycleError(Exception):
    """Services that wait for each other; the message shows the circle."""


def order(services: Iterable[DesiredService]) -> tuple[str, ...]:
    """Dependencies first, by name where that leaves a choice. Raises CycleError."""
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    for service in services:
        graph.add_node(service.name)
        for name in (*(one.service for one in service.depends_on), *service.linked):
            graph.add_edge(name, service.name)
    try:
        return tuple(networkx.lexicographical_topological_sort(graph))
    except networkx.NetworkXUnfeasible:
        circle = [edge[0] for edge in networkx.find_cycle(graph)]
        # The edges point from what is needed to who needs it; told is who needs what.
        circle.reverse()
        start = circle.index(min(circle))
        names = [*circle[start:], *circle[:start], circle[start]]
        raise CycleError(f"dependency cycle detected: {' -> '.join(names)}") from None
