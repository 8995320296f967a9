"""Other firewalls beside our table. An iptables chain FORWARD with the policy DROP (Docker, ufw, administrators) would
drop packets that our table accepts. So we append rules there that accept packets from and to our bridges. Earlier
rules, such as DOCKER-USER and those for other bridges, still come first."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence

from engine.net.firewall import netlink
from engine.net.firewall.netlink import (
    ACCEPT,
    GETCHAIN,
    GETRULE,
    INET,
    IPV4,
    IPV6,
    Nfnetlink,
    compare,
    counter,
    items,
    meta,
    name_of,
    rule,
    verdict,
)
from engine.net.fixed_names import BRIDGE_PREFIX, IPTABLES_CHAIN, IPTABLES_TABLE
from engine.net.netlink_abi import attributes
from engine.spec.network import NetworkRecord

FIREWALLD_CHAINS = "filter_FORWARD", "filter_INPUT"
"""firewalld's chains that end with a reject."""
_KEYS = (6, 7)  # iifname, oifname


def admit(kernel: Nfnetlink, records: Iterable[NetworkRecord]) -> None:
    """Let iptables' FORWARD chains accept what our table accepts, also for bridges of `records` with custom names."""
    names = link_names(records)
    for family in _families(kernel):
        present = {expressions for _, expressions in _rules(kernel, family)}
        missing = [text for pair in map(_texts, names) for text in pair if not _has(present, text)]
        if missing:
            before = _last_refusal(kernel, family)
            messages = [rule(IPTABLES_TABLE, IPTABLES_CHAIN, text, family=family, before=before) for text in missing]
            kernel.do("add to", f"chain {IPTABLES_CHAIN}", messages, accept=(errno.ENOENT,))


def link_names(records: Iterable[NetworkRecord]) -> list[str]:
    """The prefix of our bridges' names, and the names that users chose."""
    return [BRIDGE_PREFIX, *sorted({one.bridge for one in records if not one.bridge.startswith(BRIDGE_PREFIX)})]


def admit_to(kernel: Nfnetlink, table: str, chains: Sequence[str], names: Iterable[str]) -> None:
    """Insert rules in chains of another table that accept packets from and to links with these names. Missing chains
    are ignored."""
    for chain in chains:
        present = [expressions for _, expressions in _rules(kernel, INET, table, chain)]
        texts = [text for pair in map(_texts, names) for text in pair]
        missing = [rule(table, chain, text, first=True) for text in texts if not _has(present, text)]
        if missing:
            kernel.do("add to", f"chain {chain}", missing, accept=(errno.ENOENT, errno.EPERM))


def dismiss(kernel: Nfnetlink, records: Sequence[NetworkRecord]) -> None:
    """Remove the rules that `admit` added for bridges with custom names."""
    if names := [record.bridge for record in records if not record.bridge.startswith(BRIDGE_PREFIX)]:
        _dismiss(kernel, names)


def dismiss_all(kernel: Nfnetlink) -> None:
    """Remove all rules that `admit` added, except for bridges that still exist."""
    _dismiss(kernel, [BRIDGE_PREFIX])


def _dismiss(kernel: Nfnetlink, names: Sequence[str]) -> None:
    ours = [shape(text) for name in names for text in _texts(name)]
    for family in (IPV4, IPV6):
        for handle, expressions in _rules(kernel, family):
            if shape(expressions) in ours:
                removed = netlink.delete_rule(IPTABLES_TABLE, IPTABLES_CHAIN, handle, family=family)
                kernel.do("remove from", f"chain {IPTABLES_CHAIN}", [removed], accept=(errno.ENOENT,))


def _families(kernel: Nfnetlink) -> list[int]:
    """The IP versions with a chain FORWARD that drops."""
    found = []
    for family in (IPV4, IPV6):
        for one in kernel.objects(GETCHAIN, family=family):
            ours = (name_of(one.get(1, b"")), name_of(one.get(3, b""))) == (IPTABLES_TABLE, IPTABLES_CHAIN)
            if ours and one[0] == bytes((family,)) and int.from_bytes(one.get(5, b"\1"), "big") == netlink.DROP:
                found.append(family)
    return found


def _texts(name: str) -> tuple[bytes, bytes]:
    """-i and -o NAME, or NAME+ for our prefix, in the form of iptables-nft, so that iptables-save can read them."""
    value = name.encode() if name == BRIDGE_PREFIX else name.encode() + b"\0"
    accept = counter() + verdict(ACCEPT)
    return meta(_KEYS[0]) + compare(value) + accept, meta(_KEYS[1]) + compare(value) + accept


def _rules(
    kernel: Nfnetlink, family: int, table: str = IPTABLES_TABLE, chain: str = IPTABLES_CHAIN
) -> list[tuple[int, bytes]]:
    """(handle, expressions) of a chain."""
    body = netlink.text(1, table) + netlink.text(2, chain)
    found = []
    for one in kernel.objects(GETRULE, body, family=family):
        if (name_of(one.get(1, b"")), name_of(one.get(2, b""))) == (table, chain):
            found.append((int.from_bytes(one.get(3, b""), "big"), one.get(4, b"")))
    return found


def _has(present: Iterable[bytes], text: bytes) -> bool:
    wanted = shape(text)
    return any(shape(expressions) == wanted for expressions in present)


def shape(expressions: bytes) -> list[tuple[str, bytes]]:
    """(name, operand or verdict) of each expression of a rule, without counters and registers."""
    found = []
    for one in items(expressions):
        fields = attributes(one)
        name, data = name_of(fields.get(1, b"")), attributes(fields.get(2, b""))
        if name == "meta":
            found.append((name, data.get(2, b"")))
        elif name == "cmp":
            found.append((name, data.get(2, b"") + attributes(data.get(3, b"")).get(1, b"")))
        elif name == "immediate":
            inner = attributes(attributes(data.get(2, b"")).get(2, b""))
            found.append((name, inner.get(1, b"") + inner.get(2, b"")))
        elif name == "lookup":
            found.append((name, data.get(1, b"")))
        elif name != "counter":
            found.append((name, fields.get(2, b"")))
    return found


def _last_refusal(kernel: Nfnetlink, family: int) -> int:
    """The handle of the chain's last rule if it drops or rejects everything, otherwise 0."""
    rules = _rules(kernel, family)
    if not rules:
        return 0
    handle, expressions = rules[-1]
    found = shape(expressions)
    drops = len(found) == 1 and found[0] == ("immediate", bytes(4))
    rejects = len(found) == 1 and (found[0][0] == "reject" or (found[0][0] == "target" and b"REJECT" in found[0][1]))
    return handle if drops or rejects else 0
