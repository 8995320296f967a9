"""COMPOSER-USER, the administrator's chain: forwarded packets pass it before rules of ours, or of another engine,
accept them. Any table of nf_tables may have one, also iptables' (`iptables -N COMPOSER-USER` creates it in `ip
filter`). The forward chain of that table gets a jump to it before all other rules, and is created if missing. We never
change the administrator's rules.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

from engine.net.firewall import netlink
from engine.net.firewall.foreign import shape
from engine.net.firewall.netlink import GETCHAIN, GETRULE, JUMP, Nfnetlink, counter, name_of, rule, text, verdict
from engine.net.netlink_abi import attributes

NAME = "COMPOSER-USER"
_BASE = "composer-forward"
"""The chain that we create if the table has no forward chain."""
_JUMP = counter() + verdict(JUMP, NAME)
_BEFORE = [shape(verdict(JUMP, "DOCKER-USER"))]
"""The jumps that Docker also keeps first."""

Table = tuple[int, str]
"""(family, name)"""


def ask(kernel: Nfnetlink) -> None:
    """Add the jumps to the administrator's chains. Raises OperationFailed."""
    for where, bases in _tables(kernel):
        family, table = where
        made = []
        if not bases:
            bases = ["FORWARD" if table == "filter" and family != netlink.INET else _BASE]  # iptables' own name
            made = [netlink.chain(table, bases[0], "filter", netlink.FORWARD, family=family)]
        for base in bases:
            jumps, first = _jumps(kernel, where, base)
            if not first:
                made += [netlink.delete_rule(table, base, handle, family=family) for handle in jumps]
                made.append(rule(table, base, _JUMP, family=family, first=True))
        if made:
            kernel.do("add to table", table, made, accept=(errno.ENOENT,))


def leave(kernel: Nfnetlink) -> None:
    """Remove what `ask` added; the administrator's chain stays."""
    for where, bases in _tables(kernel):
        family, table = where
        removed = []
        for base in bases:
            jumps, _ = _jumps(kernel, where, base)
            removed += [netlink.delete_rule(table, base, handle, family=family) for handle in jumps]
            if base == _BASE:
                removed.append(netlink.message(netlink.DELCHAIN, text(1, table) + text(3, base), family=family))
        if removed:
            kernel.do("remove from table", table, removed, accept=(errno.ENOENT, errno.EBUSY))


def _tables(kernel: Nfnetlink) -> Iterator[tuple[Table, list[str]]]:
    """Each table with such a chain that is not itself a base chain, and the names of the table's forward chains."""
    found: dict[Table, list[str]] = {}
    ours: set[Table] = set()
    for one in kernel.objects(GETCHAIN, family=0):
        where = one[0][0], name_of(one.get(1, b""))
        name, hook = name_of(one.get(3, b"")), attributes(one.get(4, b""))
        if name == NAME and not hook:
            ours.add(where)
        if hook and int.from_bytes(hook.get(1, b""), "big") == netlink.FORWARD and name_of(one.get(7, b"")) == "filter":
            found.setdefault(where, []).append(name)
    for where in ours:
        if where[0] in (netlink.INET, netlink.IPV4, netlink.IPV6):
            yield where, found.get(where, [])


def _jumps(kernel: Nfnetlink, where: Table, base: str) -> tuple[Sequence[int], bool]:
    """The handles of our jumps in a chain, and whether one of them precedes all rules except jumps to other such
    chains."""
    family, table = where
    handles: list[int] = []
    others = False
    first = False
    for one in kernel.objects(GETRULE, text(1, table) + text(2, base), family=family):
        if (name_of(one.get(1, b"")), name_of(one.get(2, b""))) != (table, base):
            continue
        found = shape(one.get(4, b""))
        if found == shape(_JUMP):
            handles.append(int.from_bytes(one.get(3, b""), "big"))
            first = first or not others
        elif found not in _BEFORE:
            others = True
    return handles, first
