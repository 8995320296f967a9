"""The order in which services start. The earlier order is reused as long as no dependency has changed, because computing one
loads networkx."""

from __future__ import annotations

from collections.abc import Iterable

from composer import dependency_graph
from composer.plan.desired import Desired, DesiredService


def order(services: Iterable[DesiredService], before: Desired | None = None) -> tuple[str, ...]:
    """The services, dependencies first, otherwise by name. `before` is an earlier state of the project. Raises
    dependency_graph.CycleError."""
    needs = _needs(services)
    if not any(needs.values()):
        return tuple(sorted(needs))
    if before is not None and _needs(before.services.values()) == needs:
        return before.order
    return dependency_graph.order(needs)


def _needs(services: Iterable[DesiredService]) -> dict[str, set[str]]:
    """Service → the services that it needs by `depends_on`, shared namespaces or volumes_from. Jobs have no place in
    the order."""
    found = {one.name: {*(needed.service for needed in one.depends_on), *one.linked} for one in services}
    return {name: needed & found.keys() for name, needed in found.items()}
