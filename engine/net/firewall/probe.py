"""Detect the packet filters that the kernel has and the host uses."""

from __future__ import annotations

import struct

from engine.errors import OperationFailed
from engine.net.firewall import legacy as legacy_tables
from engine.net.firewall.netlink import GETCHAIN, GETTABLE, Nfnetlink, name_of
from engine.net.netlink_abi import FAMILIES, NFTABLES, attributes

GUARD = "-guard-"
"""In the names of guards (enforce.py)."""
BESIDE = f"{GUARD}beside-"
"""In the names of guards beside legacy iptables."""

_ANY = 0


def native() -> bool:
    """Whether to use nf_tables: the kernel has it, and the host does not use only legacy iptables.

    The choice stays the same while there are networks, whatever others add or flush: our chains in the legacy tables,
    our table in nf_tables, or the guard (enforce.py) of a table that was just flushed. A guard beside legacy iptables
    does not count."""
    if legacy():
        found = _dump(GETTABLE, _ANY)
        return found is not None and any(BESIDE not in one for one in found) and not legacy_tables.has_ours()
    return works()


def chains(version: int) -> set[str] | None:
    """The chains of all tables of this IP version in this thread's namespace; None when only iptables-save can list
    them: legacy tables are in use, or nf_tables does not answer."""
    if legacy():
        return None
    return _dump(GETCHAIN, FAMILIES[version], field=3)


_known: list[bool] = []


def works() -> bool:
    """Whether the kernel has nf_tables; checked once."""
    if not _known:
        _known.append(_dump(GETTABLE, _ANY) is not None)
    return _known[0]


def legacy() -> bool:
    """Whether tables of legacy iptables exist in the namespace of this thread, for either IP version."""
    return legacy_tables.in_use()


def _dump(kind: int, family: int, field: int = 1) -> set[str] | None:
    """Names of the tables or chains; None if nf_tables does not answer."""
    try:
        with Nfnetlink() as kernel:
            found, changed = kernel.dump("list", "chains", NFTABLES << 8 | kind, struct.pack("=BBH", family, 0, 0))
    except (OSError, OperationFailed):
        return None
    return None if changed else {name_of(attributes(body[4:]).get(field, b"")) for body in found}
