"""Published ports and container names that one container gives up and another takes.

An orphan goes, a replica is surplus, or services exchange their ports: what takes a port or a name waits for the operation that
frees it.
"""

from __future__ import annotations

from collections.abc import Iterator

from composer.plan.observed import Snapshot
from composer.plan.operations import Create, Operation, Plan, Remove, Rename, Start, Stop
from engine.spec.container import PortBinding

Place = tuple[str, str]
"""(protocol, port of the host)"""

_ANY = ("", "0.0.0.0", "::")


def order(plan: Plan, snapshot: Snapshot) -> None:
    """Let starts wait for the stops that free their ports, and new names for the removals that free them."""
    removes = {op.container_id: op for op in plan.operations if isinstance(op, Remove)}
    stops = {op.container_id: op for op in plan.operations if isinstance(op, Stop)}
    if not removes and not stops:
        return
    names: dict[str, Operation] = {}
    ports: dict[Place, list[tuple[str, Operation]]] = {}
    for record in snapshot.containers:
        if removed := removes.get(record.id):
            names[record.spec.name] = removed
        if stopped := stops.get(record.id):
            for place, address in _published(record.state.ports or record.spec.ports):
                ports.setdefault(place, []).append((address, stopped))
    for op in plan.operations:
        if isinstance(op, Rename) or (isinstance(op, Create) and not op.replaces):
            if op.name in names:
                _wait(plan, op, names[op.name])
        elif isinstance(op, Start) and op.service is not None and ports:
            for place, address in _published(op.service.container.ports):
                for other, stop in ports.get(place, ()):
                    if stop.name != op.name and (address == other or address in _ANY or other in _ANY):
                        _wait(plan, op, stop)


def _published(ports: tuple[PortBinding, ...]) -> Iterator[tuple[Place, str]]:
    """The single ports of the host, with their addresses; a range has room for several containers."""
    for one in ports:
        if one.host_port.isdecimal():
            yield (one.protocol, one.host_port), one.host_ip


def _wait(plan: Plan, operation: Operation, before: Operation) -> None:
    if before.id not in operation.after and not plan.waits_for(before, operation):
        operation.after = (*operation.after, before.id)
