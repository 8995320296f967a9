"""COMPOSER-USER, the administrator's chain: asked before anything of ours, or of another engine, accepts what is forwarded.

Any table of nf_tables may have one, that of iptables too (`iptables -N COMPOSER-USER` makes it in `ip filter`). The chain of
that table that sees what is forwarded gets a jump to it before all other rules, and is made where there is none. The rules are
the administrator's: we never change them.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

from engine.net.firewall import netlink
from engine.net.firewall.foreign import shape
from engine.net.firewall.netlink import GETCHAIN, GETRULE, JUMP, Nfnetlink, counter, name_of, rule, text, verdict
from engine.net.rtnetlink import attributes

NAME = "COMPOSER-USER"
_BASE = "composer-forward"
"""The chain that we make where the table has none that sees what is forwarded."""
_JUMP = counter() + verdict(JUMP, NAME)
_BEFORE = [shape(verdict(JUMP, "DOCKER-USER"))]
"""What Docker puts first, too."""

Table = tuple[int, str]
"""(family, name)"""


def ask(kernel: Nfnetlink) -> None:
    """Have the administrator's chains asked. Raises OperationFailed."""
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
    """Take away what `ask` added; the administrator's chain stays."""
    for where, bases in _tables(kernel):
        family, table = where
        gone = []
        for base in bases:
            jumps, _ = _jumps(kernel, where, base)
            gone += [netlink.delete_rule(table, base, handle, family=family) for handle in jumps]
            if base == _BASE:
                gone.append(netlink.message(netlink.DELCHAIN, text(1, table) + text(3, base), family=family))
        if gone:
            kernel.do("remove from table", table, gone, accept=(errno.ENOENT, errno.EBUSY))


def _tables(kernel: Nfnetlink) -> Iterator[tuple[Table, list[str]]]:
    """Each table with such a chain that the kernel does not ask by itself, and the names of those of its chains that see what
    is forwarded."""
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
    """The handles of our jumps in a chain, and whether one of them stands before all but the jumps to other such chains."""
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
