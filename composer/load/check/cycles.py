"""Cycles of dependencies."""

from __future__ import annotations

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from composer.load.tree.nodes import Map


def first_cycle(services: Map, jobs: Map) -> list[str]:
    """The names in the first dependency cycle, beginning with the one that sorts first; empty if there is none."""
    everything = {**services, **jobs}
    waits = {
        name: sorted(other for other in everything[name].get("depends_on", ()) if other in everything)
        for name in sorted(everything)
    }
    if not any(waits.values()):
        return []
    from graphlib import CycleError, TopologicalSorter

    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1][:-1]  # the graph's edges lead from a dependency to its dependants
        start = circle.index(min(circle))
        return [*circle[start::-1], *circle[:start:-1]]
    return []
