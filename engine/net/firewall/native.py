"""Our table in nf_tables, one for each state root: created with the first network, restored by one transaction, removed
with the last network. Every change is a single transaction and can be repeated.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from engine import digest
from engine.net.firewall import elements, foreign, forwarding, netlink, published_ports, ruleset, userchain
from engine.net.firewall.elements import Elements
from engine.net.firewall.netlink import Element, Nfnetlink
from engine.net.firewall.probe import GUARD
from engine.net.firewall.published_ports import Port
from engine.net.fixed_names import FIREWALLD, TABLE_PREFIX
from engine.paths import Roots
from engine.spec.network import NetworkRecord

Owned = Sequence[tuple[str, Port]]
"""(container id, port)"""


def table(roots: Roots) -> str:
    return f"{TABLE_PREFIX}{digest.tag(roots.state)}"


def is_there(kernel: Nfnetlink, roots: Roots) -> bool:
    return table(roots) in _tables(kernel)


def add_networks(roots: Roots, records: Sequence[NetworkRecord]) -> None:
    """Add the networks to our table; create the table if it is missing."""
    wanted = _all_of(records)
    with Nfnetlink() as kernel:
        # We look first, because a transaction that fails takes ten milliseconds: the kernel waits for RCU before it frees it.
        if is_there(kernel, roots) or not _make(kernel, roots, wanted):
            _add(kernel, roots, wanted)
        _close(kernel, roots)
        _admit(kernel, records)


def remove_networks(
    roots: Roots, records: Sequence[NetworkRecord], left: Sequence[NetworkRecord], forget: Callable[[], None]
) -> None:
    """Remove the networks from our table, and the table itself if no network is `left`; then call `forget`. Until then the
    socket stays open: to close it sooner would take ten milliseconds, in which the kernel waits for RCU."""
    with Nfnetlink() as kernel:
        if left:
            _remove(kernel, roots, _all_of(records))
            foreign.dismiss(kernel, records)
        else:
            drop(kernel, roots)
        tables = _tables(kernel)
        if FIREWALLD in tables:
            from engine.net.firewall import firewalld  # with a client of D-Bus, which few machines need

            firewalld.dismiss((record.bridge for record in records), tables[FIREWALLD])
        forget()


def drop(kernel: Nfnetlink, roots: Roots) -> None:
    kernel.do("remove table", table(roots), [netlink.delete_table(table(roots))], accept=(errno.ENOENT,))
    if not any(name.startswith(TABLE_PREFIX) and GUARD not in name for name in _tables(kernel)):
        foreign.dismiss_all(kernel)
        userchain.leave(kernel)


def publish(roots: Roots, ports: Owned) -> None:
    with Nfnetlink() as kernel:
        _add(kernel, roots, elements.merged(published_ports.element(port, owner) for owner, port in ports))


def withdraw(roots: Roots, ports: Owned) -> None:
    """Remove the ports; missing ones, and those that now belong to another container, are skipped."""
    with Nfnetlink() as kernel:
        _remove(kernel, roots, elements.merged(published_ports.element(port, owner) for owner, port in ports))


def _close(kernel: Nfnetlink, roots: Roots) -> None:
    """Write the rules of the chain `others`: earlier networks may not have needed forwarding."""
    name, versions = table(roots), forwarding.ours()
    if not _is_closed(kernel, name, versions):
        kernel.do("add to table", name, ruleset.closed(name, versions))


def _is_closed(kernel: Nfnetlink, name: str, versions: Sequence[int]) -> bool:
    requested = netlink.text(1, name) + netlink.text(2, "others")
    rules = [one for one in kernel.objects(netlink.GETRULE, requested) if netlink.name_of(one[2]) == "others"]
    return [foreign.shape(one.get(4, b"")) for one in rules] == list(map(foreign.shape, ruleset.closing(versions)))


def is_whole(roots: Roots, records: Sequence[NetworkRecord]) -> bool:
    """Whether all rules and networks exist."""
    if not records:
        return True
    with Nfnetlink() as kernel:
        return _is_whole(kernel, roots, records)


def sweep(
    roots: Roots, records: Sequence[NetworkRecord], owners: Collection[str], ports: Mapping[str, Sequence[Port]]
) -> None:
    """Bring the table into its required state: `records`, and the ports of `owners` (container ids) that are in
    `ports`. If anything is missing from the table, one transaction recreates it."""
    with Nfnetlink() as kernel:
        if not records:
            if is_there(kernel, roots):
                drop(kernel, roots)
            return
        alive = {owner[:12] for owner in owners}
        present = {name: kernel.elements(table(roots), name) for name in ruleset.PORT_SETS}
        wanted = elements.merged(
            published_ports.element(port, owner) for owner, of in ports.items() if owner[:12] in alive for port in of
        )
        if not _is_whole(kernel, roots, records):
            _rebuild(kernel, roots, records, _joined(_of_running(present, alive), wanted))
        else:
            dead = {key: [one for one in found if one.comment not in alive] for key, found in present.items()}
            _remove(kernel, roots, {key: found for key, found in dead.items() if found})
            known = {key: {one.key for one in found} for key, found in present.items()}
            _add(kernel, roots, {k: [e for e in found if e.key not in known[k]] for k, found in wanted.items()})
        _admit(kernel, records)


def _admit(kernel: Nfnetlink, records: Sequence[NetworkRecord]) -> None:
    """Add the administrator's chains, and let other firewalls of the host accept our networks."""
    userchain.ask(kernel)
    foreign.admit(kernel, records)
    owner = _tables(kernel).get(FIREWALLD)
    if owner is None:
        return
    from engine.net.firewall import firewalld  # with a client of D-Bus, which few machines need

    if not firewalld.admit((record.bridge for record in records), owner):
        foreign.admit_to(kernel, FIREWALLD, foreign.FIREWALLD_CHAINS, foreign.link_names(records))


def has_relay() -> bool:
    """Whether packet rules can direct packets to the relay, as far as is known before the table exists."""
    return ruleset.has_relay()


def has_firewalld() -> bool:
    """Whether firewalld's table exists; its answers can take a while."""
    with Nfnetlink() as kernel:
        return FIREWALLD in _tables(kernel)


def _tables(kernel: Nfnetlink) -> dict[str, int]:
    """Table → process that owns it (its netlink port, which is that number unless the process has several), 0 for
    none."""
    found = kernel.objects(netlink.GETTABLE)
    return {netlink.name_of(one.get(1, b"")): int.from_bytes(one.get(7, b""), "big") for one in found}


def _is_whole(kernel: Nfnetlink, roots: Roots, records: Sequence[NetworkRecord]) -> bool:
    name = table(roots)
    found = [one for one in kernel.objects(netlink.GETTABLE) if netlink.name_of(one.get(1, b"")) == name]
    if not found or found[0].get(6) != ruleset.note():
        return False
    rules = kernel.objects(netlink.GETRULE, netlink.text(1, name))
    if sum(netlink.name_of(one[2]) != "others" for one in rules if netlink.name_of(one[1]) == name) != ruleset.rules():
        return False
    if not _is_closed(kernel, name, forwarding.ours()):
        return False
    bridges = {netlink.name_of(one.key) for one in kernel.elements(name, "bridges")}
    return bridges == {record.bridge for record in records}


def _rebuild(kernel: Nfnetlink, roots: Roots, records: Sequence[NetworkRecord], ports: Elements) -> None:
    name = table(roots)
    emptied = [netlink.table(name), netlink.delete_table(name)]
    _create(kernel, name, emptied, _joined(_all_of(records), ports))


def _add(kernel: Nfnetlink, roots: Roots, wanted: Elements) -> None:
    name = table(roots)
    additions = _additions(name, wanted)
    if not additions:
        return
    for _ in range(3):
        failed = kernel.do("add to table", name, additions, accept=(errno.ENOENT, errno.EEXIST, errno.EBUSY))
        if not failed or (failed == errno.ENOENT and _make(kernel, roots, wanted)):
            return
        if failed != errno.ENOENT:
            _remove_stale(kernel, name, wanted)
    kernel.do("add to table", name, additions)


def _make(kernel: Nfnetlink, roots: Roots, wanted: Elements) -> bool:
    """Create our table with these elements; False if it exists already."""
    return not _create(kernel, table(roots), [], wanted, accept=(errno.EEXIST,))


def _create(
    kernel: Nfnetlink, name: str, before: Sequence[bytes], wanted: Elements, *, accept: tuple[int, ...] = ()
) -> int:
    """Create our table, after `before`. Returns the errno if it is in `accept`."""

    def messages() -> list[bytes]:
        return [*before, *ruleset.whole(name), *ruleset.closed(name, forwarding.ours()), *_additions(name, wanted)]

    if ruleset.has_relay():
        failed = kernel.do("make table", name, messages(), accept=(errno.ENOENT, *accept))
        if failed != errno.ENOENT:
            return failed
        ruleset.leave_out_relay()  # the kernel does not know an expression: only tproxy is not in every kernel
    return kernel.do("make table", name, messages(), accept=accept)


def _remove_stale(kernel: Nfnetlink, name: str, wanted: Elements) -> None:
    """Remove elements with keys of `wanted` and other values: leftovers of a removed container."""
    for key, found in wanted.items():
        ours = {one.key for one in found}
        stale = [one for one in kernel.elements(name, key) if one.key in ours] if key in ruleset.PORT_SETS else []
        if stale:
            kernel.do("remove from table", name, netlink.remove(name, key, stale), accept=(errno.ENOENT,))


def _remove(kernel: Nfnetlink, roots: Roots, unwanted: Elements) -> None:
    name = table(roots)
    messages = [one for key, found in unwanted.items() for one in netlink.remove(name, key, found)]
    if not messages or not kernel.do("remove from table", name, messages, accept=(errno.ENOENT,)):
        return
    for key, found in unwanted.items():
        for element in found:
            kernel.do("remove from table", name, netlink.remove(name, key, [element]), accept=(errno.ENOENT,))


def _additions(name: str, wanted: Elements) -> list[bytes]:
    return [one for key, found in wanted.items() if found for one in netlink.add(name, key, found)]


def _all_of(records: Iterable[NetworkRecord]) -> Elements:
    found: dict[str, dict[bytes, Element]] = {}
    for record in records:
        for key, values in elements.of_network(record).items():
            found.setdefault(key, {}).update({element.key: element for element in values})
    return {key: list(values.values()) for key, values in found.items()}


def _joined(one: Elements, other: Elements) -> Elements:
    """Both joined; the second wins."""
    found = {key: {element.key: element for element in values} for key, values in one.items()}
    for key, values in other.items():
        found.setdefault(key, {}).update({element.key: element for element in values})
    return {key: list(values.values()) for key, values in found.items()}


def _of_running(present: Mapping[str, Sequence[Element]], alive: Collection[str]) -> Elements:
    return {key: [one for one in found if one.comment in alive] for key, found in present.items()}
