"""The order in which containers change networks: one gives up a fixed address before another gets it."""

from __future__ import annotations

from collections.abc import Iterator

from composer.plan.observed import Snapshot
from composer.plan.operations import Plan, Rejoin, Start, Stop
from engine.spec.container import Attachment

Place = tuple[str, str]
"""(network, address)"""


def order(plan: Plan, snapshot: Snapshot) -> None:
    """Let operations that need a fixed address wait for the one that frees it. Containers that exchange addresses
    change together."""
    rejoins = {op.container_id: op for op in plan.operations if isinstance(op, Rejoin)}
    stops = {op.container_id: op for op in plan.operations if isinstance(op, Stop)}
    if not rejoins and not stops:
        return
    freed: dict[Place, Rejoin | Stop] = {}
    for record in snapshot.containers:
        rejoin = rejoins.get(record.id)
        if (leaving := rejoin or stops.get(record.id)) is None:
            continue
        kept = set(_fixed(rejoin.service.container.networks)) if rejoin else set()
        for end in record.state.endpoints:
            for address in (end.ipv4_address, end.ipv6_address):
                if address and (end.network, address) not in kept:
                    freed[end.network, address] = leaving
    needed = {
        op.id: [freed[place] for place in _fixed(op.service.container.networks) if freed.get(place, op) is not op]
        for op in plan.operations
        if isinstance(op, Rejoin | Start) and op.service is not None
    }
    from composer.dependency_graph import cyclic_groups  # most plans do not come here

    exchanges = cyclic_groups({one.id: [before.id for before in needed[one.id]] for one in rejoins.values()})
    for exchange in exchanges:
        first, *others = (one for one in rejoins.values() if one.id in exchange)
        first.together = tuple((one.container_id, one.service) for one in others)
        first.after = tuple(dict.fromkeys(n for one in (first, *others) for n in one.after))
        for one in others:
            one.after = (first.id,)
            needed[first.id] += needed.pop(one.id)
    for number, befores in needed.items():
        op = plan.operations[number]
        for before in befores:
            if not plan.waits_for(before, op):
                op.after = tuple(dict.fromkeys((*op.after, before.id)))


def _fixed(networks: tuple[Attachment, ...]) -> Iterator[Place]:
    for one in networks:
        for address in (one.ipv4_address, one.ipv6_address):
            if address:
                yield one.network, address
