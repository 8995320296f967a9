"""Select the packet filter, and lock its changes. nf_tables, unless this host uses only legacy iptables."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import ModuleType

from engine.errors import OperationFailed
from engine.net.firewall import forwarding, native, probe
from engine.net.firewall.published_ports import Port
from engine.paths import Roots
from engine.spec.network import NetworkRecord

Networks = Callable[[], Sequence[NetworkRecord]]


def _back_end() -> ModuleType:
    if probe.native():
        return native
    from engine.net.firewall import iptables

    return iptables


async def add_networks(roots: Roots, records: Sequence[NetworkRecord]) -> None:
    """Add the networks' rules. Raises OperationFailed."""

    def work() -> None:
        forwarding.enable(roots, {one for record in records if not record.spec.internal for one in versions(record)})
        _back_end().add_networks(roots, records)

    await _exclusively(roots, work, quick=probe.native() and not native.has_firewalld())


async def remove_networks(
    roots: Roots, records: Sequence[NetworkRecord], forget: Callable[[], None], left: Networks
) -> None:
    """Remove the networks' rules, if any. `forget` removes the rest of the networks before a sweep could notice that
    their rules are missing; `left` returns all other networks."""
    removed = {record.id for record in records}

    def work() -> None:
        remaining = [one for one in left() if one.id not in removed]
        _back_end().remove_networks(roots, records, remaining, forget)
        if not remaining:
            forwarding.release(roots)

    await _exclusively(roots, work)


async def publish(roots: Roots, ports: Sequence[tuple[str, Port]]) -> None:
    """Add published ports. nf_tables is fast; for legacy iptables a thread waits for a program."""
    if probe.native():
        native.publish(roots, ports)
    else:
        await asyncio.to_thread(_back_end().publish, roots, ports)


async def withdraw(roots: Roots, ports: Sequence[tuple[str, Port]]) -> None:
    """Remove published ports, in a thread: the kernel waits some milliseconds until no packet uses the rules."""
    await asyncio.to_thread(_back_end().withdraw, roots, ports)


async def sweep(
    roots: Roots, networks: Networks, owners: Callable[[], Collection[str]], ports: Mapping[str, Sequence[Port]]
) -> None:
    """Remove stale rules, and restore what another program flushed or disabled: rules of `networks`, of `ports`
    (container id → published ports), and forwarding."""

    def work() -> None:
        records = networks()
        outward = [record for record in records if not record.spec.internal]
        forwarding.enable(roots, {version for record in outward for version in versions(record)})
        _back_end().sweep(roots, records, owners(), ports)
        if not records:
            forwarding.release(roots)

    await _exclusively(roots, work)


def is_whole(roots: Roots, records: Sequence[NetworkRecord]) -> bool:
    """Whether the rules of `records` and the forwarding setting are intact."""
    outward = {version for record in records if not record.spec.internal for version in versions(record)}
    return all(map(forwarding.is_on, outward)) and bool(_back_end().is_whole(roots, records))


def versions(record: NetworkRecord) -> tuple[int, ...]:
    """The IP versions of the network."""
    return tuple(version for version in (4, 6) if getattr(record.spec, f"enable_ipv{version}"))


async def _exclusively(roots: Roots, work: Callable[[], None], *, quick: bool = False) -> None:
    """Run `work` under a lock shared by all supervisors, so that its reads are still valid when it writes. `quick`:
    short work that needs a thread only to wait for the lock."""

    def waiting() -> None:
        with _lock(roots, fcntl.LOCK_EX):
            work()

    if quick:
        try:
            with _lock(roots, fcntl.LOCK_EX | fcntl.LOCK_NB):
                work()
            return
        except BlockingIOError:
            pass
    await asyncio.to_thread(waiting)


@contextlib.contextmanager
def _lock(roots: Roots, how: int) -> Iterator[None]:
    try:
        lock = os.open(roots.state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise OperationFailed.of("lock", roots.state, error) from error
    try:
        fcntl.flock(lock, how)
        yield
    finally:
        os.close(lock)
