"""The order in which containers change networks: one gives up a fixed address before another gets it."""

from __future__ import annotations

from collections.abc import Iterator

from composer.plan.observed import Snapshot
from composer.plan.operations import Operation, Plan, Rejoin, Start
from engine.spec.container import Attachment

Place = tuple[str, str]
"""(network, address)"""


def order(plan: Plan, snapshot: Snapshot) -> None:
    """Let operations that need a fixed address wait for the one that frees it. Two containers that exchange addresses
    keep theirs: the first one finds its new address in use, as in Docker Compose."""
    rejoins = {op.container_id: op for op in plan.operations if isinstance(op, Rejoin)}
    if not rejoins:
        return
    freed: dict[Place, Rejoin] = {}
    for record in snapshot.containers:
        if rejoin := rejoins.get(record.id):
            kept = set(_fixed(rejoin.service.container.networks))
            for end in record.state.endpoints:
                for address in (end.ipv4_address, end.ipv6_address):
                    if address and (end.network, address) not in kept:
                        freed[end.network, address] = rejoin
    for op in plan.operations:
        if isinstance(op, Rejoin | Start) and op.service is not None:
            for place in _fixed(op.service.container.networks):
                before = freed.get(place)
                if before is not None and before is not op and not _waits_for(plan, before, op.id):
                    op.after = tuple(dict.fromkeys((*op.after, before.id)))


def _fixed(networks: tuple[Attachment, ...]) -> Iterator[Place]:
    for one in networks:
        for address in (one.ipv4_address, one.ipv6_address):
            if address:
                yield one.network, address


def _waits_for(plan: Plan, operation: Operation, other: int) -> bool:
    """Whether the operation waits for the one with the id `other`, directly or not."""
    waiting, seen = [operation.id], set()
    after = {one.id: one.after for one in plan.operations}
    while waiting:
        current = waiting.pop()
        if current == other:
            return True
        if current not in seen:
            seen.add(current)
            waiting += after[current]
    return False
