"""Packet filter rules: isolation of bridges, masquerading, published ports; many with one iptables-restore.

    filter FORWARD ─▶ COMPOSER-FORWARD ─▶ COMPOSER-IN   -o <bridge> ─▶ CMP-<id>: established, DNAT, own ─▶ ACCEPT
                                       │                                         all else ─▶ DROP
                                       └▶ COMPOSER-OUT  -i <bridge> ─▶ ACCEPT (internal: DROP)
    filter INPUT   ─▶ COMPOSER-INPUT    -i <bridge> to 127.0.0.0/8, new ─▶ DROP (route_localnet lets it come this far)
    nat PREROUTING, OUTPUT (to local addresses) ─▶ COMPOSER-NAT   one DNAT a published port
    nat POSTROUTING ─▶ COMPOSER-MASQ    leaves a bridge's subnet, comes from loopback, or hairpins ─▶ MASQUERADE

Every rule of a network or container carries the comment composer:<state root>:<id>, so that leftovers are found and
another state root's rules are left alone. iptables-nft and iptables-legacy read the same text (iptables-restore(8)). A
change reads what is there and makes one atomic step a table from it: it can be repeated, and repairs. Whether anything
is there the kernel says itself (nftables.py); the program is run to learn what.

What waits here, for the lock or for a program, blocks: it belongs in a thread (asyncio.to_thread). A change that has
begun goes on to its end there and lets go of the lock, though its caller be cancelled; a cancelled
asyncio.create_subprocess_exec may never return (https://github.com/python/cpython/issues/125502), lock and all.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from engine import digest
from engine.errors import OperationFailed
from engine.net import nftables
from engine.paths import Roots
from engine.spec.container import PortBinding
from engine.spec.network import NetworkRecord

ICC_OPTION = "com.docker.network.bridge.enable_icc"
MASQUERADE_OPTION = "com.docker.network.bridge.enable_ip_masquerade"
SOURCE_OPTIONS = {4: "com.docker.network.host_ipv4", 6: "com.docker.network.host_ipv6"}
"""The host's address that containers are seen with outside, in place of the outgoing link's."""


class Rule(Struct, frozen=True):
    """`text` is what follows -A: "COMPOSER-NAT -p tcp …"."""

    version: int
    table: str
    text: str


Rules = list[Rule]
Saved = dict[str, list[str]]
"""Table → its lines as iptables-save(8) prints them."""

_CHAINS = {
    "filter": ("COMPOSER-FORWARD", "COMPOSER-IN", "COMPOSER-OUT", "COMPOSER-INPUT"),
    "nat": ("COMPOSER-NAT", "COMPOSER-MASQ"),
}
# Packets from elsewhere to a loopback address are never ours to serve; [::1] cannot leave lo (proxy.py serves it).
_LOCAL = {4: "! -d 127.0.0.0/8 ", 6: "! -d ::1/128 "}
FOLDERS = "/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin"
"""Where the programs are."""

_OURS = "COMPOSER-", "CMP-"
"""How the names of all chains begin that are ours. Whatever else is ours is in one of them, or jumps to one."""
_BEGIN, _INNER = "-I", "-A"


def _jumps(table: str, version: int) -> tuple[tuple[str, str], ...]:
    """(-I at the beginning of a chain of the kernel's | -A inside ours, rule)."""
    if table == "filter":
        return (
            (_BEGIN, "FORWARD -j COMPOSER-FORWARD"),
            (_BEGIN, "INPUT -j COMPOSER-INPUT"),
            (_INNER, "COMPOSER-FORWARD -j COMPOSER-IN"),
            (_INNER, "COMPOSER-FORWARD -j COMPOSER-OUT"),
        )
    output = "" if version == 4 else _LOCAL[6]
    return (
        (_BEGIN, f"PREROUTING {_LOCAL[version]}-m addrtype --dst-type LOCAL -j COMPOSER-NAT"),
        (_BEGIN, f"OUTPUT {output}-m addrtype --dst-type LOCAL -j COMPOSER-NAT"),
        (_BEGIN, "POSTROUTING -j COMPOSER-MASQ"),
    )


def tag(roots: Roots) -> str:
    """Eight hex digits for the state root, which tell its rules and links from another's."""
    return digest.tag(roots.state)


def _comment(roots: Roots, owner: str) -> str:
    return f"-m comment --comment composer:{tag(roots)}:{owner[:12]}"


def _chain(record: NetworkRecord) -> str:
    return f"CMP-{record.id[:12]}"


def is_true(record: NetworkRecord, option: str) -> bool:
    """A driver option that is on unless it says otherwise."""
    return record.spec.driver_opts.get(option, "true").lower() in ("true", "1", "t")


def versions(record: NetworkRecord) -> tuple[int, ...]:
    return (4, 6) if record.spec.enable_ipv6 else (4,)


def network_rules(roots: Roots, record: NetworkRecord) -> Rules:
    """What isolates the network and lets it out."""
    return [rule for version in versions(record) for rule in _network_rules(roots, record, version)]


def _network_rules(roots: Roots, record: NetworkRecord, version: int) -> Rules:
    bridge, chain, comment = record.bridge, _chain(record), _comment(roots, record.id)
    own = "ACCEPT" if is_true(record, ICC_OPTION) else "DROP"
    filtering = [
        f"{chain} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        f"{chain} -m conntrack --ctstate DNAT -j ACCEPT",
        f"{chain} -i {bridge} -j {own}",
        f"{chain} -j DROP",
        f"COMPOSER-IN -o {bridge} {comment} -j {chain}",
        f"COMPOSER-OUT -i {bridge} {comment} -j {'DROP' if record.spec.internal else 'ACCEPT'}",
    ]
    if version == 4:
        loopback = f"-i {bridge} -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED"
        filtering.append(f"COMPOSER-INPUT {loopback} {comment} -j DROP")
    rules = [Rule(version, "filter", text) for text in filtering]
    if record.spec.internal:
        return rules
    for pool in record.pools:
        subnet = ipaddress.ip_network(pool.subnet)
        if subnet.version != version:
            continue
        if is_true(record, MASQUERADE_OPTION):
            source = record.spec.driver_opts.get(SOURCE_OPTIONS[version], "")
            target = f"SNAT --to-source {source}" if source else "MASQUERADE"
            rules.append(Rule(version, "nat", f"COMPOSER-MASQ -s {subnet} ! -o {bridge} {comment} -j {target}"))
        hairpin = f"-s {subnet} -d {subnet} -m conntrack --ctstate DNAT {comment}"
        rules.append(Rule(version, "nat", f"COMPOSER-MASQ {hairpin} -j MASQUERADE"))
    if version == 4:
        rules.append(Rule(version, "nat", f"COMPOSER-MASQ -s 127.0.0.0/8 -o {bridge} {comment} -j MASQUERADE"))
    return rules


def port_rules(roots: Roots, container_id: str, v4: str, v6: str, ports: Iterable[PortBinding]) -> Rules:
    """DNAT to the container's addresses ("" for none) for each published port, where its host address allows that."""
    rules = []
    comment = _comment(roots, container_id)
    for port in ports:
        for version, address in ((4, v4), (6, f"[{v6}]" if v6 else "")):
            everywhere = port.host_ip in ("", "0.0.0.0", "::")
            fits = port.host_ip == "" or (":" in port.host_ip) == (version == 6)
            if not address or not fits:
                continue
            where = "" if everywhere else f"-d {port.host_ip} "
            match = f"{where}-p {port.protocol} -m {port.protocol} --dport {port.host_port} {comment}"
            text = f"COMPOSER-NAT {match} -j DNAT --to-destination {address}:{port.container_port}"
            rules.append(Rule(version, "nat", text))
    return rules


def add_network(roots: Roots, record: NetworkRecord) -> None:
    """Put the network's rules in place of what there may be of them, and our chains where they are missing."""
    with _exclusive(roots):
        for version in versions(record):
            _add(roots, record, version)


def _add(roots: Roots, record: NetworkRecord, version: int) -> None:
    saved = _save(version)
    lines: dict[str, list[str]] = {}
    for table, chains in _CHAINS.items():
        present = saved.get(table, [])
        missing = [f":{chain} - [0:0]" for chain in chains if not _declared(present, chain)]
        jumps = [f"{how} {rule}" for how, rule in _jumps(table, version) if f"-A {rule}" not in present]
        # Declaring a chain that exists empties it.
        chain = [f":{_chain(record)} - [0:0]"] if table == "filter" else []
        old = _deletions(present, roots, lambda owner: owner == record.id[:12])
        new = [
            f"-A {rule.text}" for rule in network_rules(roots, record) if (rule.version, rule.table) == (version, table)
        ]
        lines[table] = [*missing, *chain, *jumps, *old, *new]
    _restore(version, lines)


def remove_network(roots: Roots, record: NetworkRecord, forget: Callable[[], None]) -> None:
    """Remove the network's rules; nothing when there are none. `forget` removes the rest of it before a sweep can see
    that it has no rules."""
    with _exclusive(roots):
        for version in versions(record):
            _purge(roots, version, _save(version), lambda owner: owner == record.id[:12])
        forget()


def unhook(roots: Roots, version: int, networks: Callable[[], Sequence[NetworkRecord]]) -> None:
    """Remove our chains when no network that is left has this IP version, and with them what may be left in them."""
    with _exclusive(roots):
        if not any(version in versions(record) for record in networks()):
            saved = _save(version)
            if _purge(roots, version, saved, lambda owner: True):
                saved = _save(version)
            _unhook(version, saved)


def sweep(
    roots: Roots,
    version: int,
    owners: Callable[[], Iterable[str]],
    networks: Callable[[], Sequence[NetworkRecord]],
    ports: Mapping[str, Rules],
) -> None:
    """Remove the rules of containers that are not in `owners` and of networks that are not in `networks`; put back what
    somebody flushed of the rules of `networks` and of `ports` (container id → rules)."""
    with _exclusive(roots):
        found = [record for record in networks() if version in versions(record)]
        alive = {record.id[:12] for record in found} | {owner[:12] for owner in owners()}
        saved = _save(version)
        if _purge(roots, version, saved, lambda owner: owner not in alive):
            saved = _save(version)
        for record in found:
            if not _declared(saved.get("filter", []), _chain(record)):
                _add(roots, record, version)
        present = "\n".join(saved.get("nat", []))
        flushed = [owner for owner in ports if f"composer:{tag(roots)}:{owner[:12]}" not in present]
        apply([rule for owner in flushed for rule in ports[owner] if rule.version == version])


def apply(rules: Rules) -> None:
    """Append the rules, all of one table and IP version or none of them."""
    _change("-A", rules)


def withdraw(roots: Roots, owner: str, rules: Rules) -> None:
    """Remove the owner's rules; those that do not exist any more do not matter."""
    try:
        _change("-D", rules)
    except OperationFailed:
        for version in sorted({rule.version for rule in rules}):
            _purge(roots, version, _save(version), lambda found: found == owner[:12])


def _change(action: str, rules: Rules) -> None:
    for version in sorted({rule.version for rule in rules}):
        lines: dict[str, list[str]] = {}
        for rule in rules:
            if rule.version == version:
                lines.setdefault(rule.table, []).append(f"{action} {rule.text}")
        _restore(version, lines)


def _purge(roots: Roots, version: int, saved: Saved, unwanted: Callable[[str], bool]) -> bool:
    """Remove every rule of this state root whose owner is unwanted, and the chain that it jumps to; whether any was."""
    lines: dict[str, list[str]] = {}
    for table, present in saved.items():
        if deletions := _deletions(present, roots, unwanted):
            chains = sorted({line.split()[-1] for line in deletions if line.split()[-1].startswith("CMP-")})
            lines[table] = [*deletions, *(f"{how} {chain}" for how in ("-F", "-X") for chain in chains)]
    _restore(version, lines)
    return bool(lines)


def _unhook(version: int, saved: Saved) -> None:
    """Remove our chains and the jumps to them, unless another state root has rules there."""
    lines: dict[str, list[str]] = {}
    for table, present in saved.items():
        ours = [chain for chain in _CHAINS.get(table, ()) if _declared(present, chain)]
        inner = {f"-A {rule}" for how, rule in _jumps(table, version) if how == _INNER} if ours else set()
        if not ours or any(line.split()[1] in ours and line not in inner for line in present if line[:2] == "-A"):
            continue
        jumps = [f"-D {line[3:]}" for line in present if line[:2] == "-A" and line.split()[-1] in ours]
        lines[table] = [*jumps, *(f"-X {chain}" for chain in ours)]
    _restore(version, lines)


def _declared(present: Sequence[str], chain: str) -> bool:
    return any(line.startswith(f":{chain} ") for line in present)


def _deletions(present: Sequence[str], roots: Roots, unwanted: Callable[[str], bool]) -> list[str]:
    mark = re.compile(rf'--comment "?composer:{tag(roots)}:(\w+)')
    return [f"-D {line[3:]}" for line in present if (found := mark.search(line)) and unwanted(found[1])]


def _save(version: int) -> Saved:
    """What there is; nothing when nothing of it is ours."""
    known = nftables.chains(version)
    if known is not None and not any(name.startswith(_OURS) for name in known):
        return {}
    tables: Saved = {}
    lines: list[str] = []
    for line in (_run((binary("iptables-save", version),))).splitlines():
        if line.startswith("*"):
            lines = tables.setdefault(line[1:].strip(), [])
        elif line.startswith((":", "-A")):
            lines.append(line.strip())
    return {table: tables[table] for table in _CHAINS if table in tables}


def _restore(version: int, lines: dict[str, list[str]]) -> None:
    text = "".join(
        f"*{table}\n" + "".join(f"{line}\n" for line in of) + "COMMIT\n" for table, of in lines.items() if of
    )
    if text:
        _run((binary("iptables-restore", version), "-w", "--noflush"), text)


def binary(name: str, version: int) -> str:
    name = name.replace("iptables", "ip6tables") if version == 6 else name
    for folder in FOLDERS:
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    raise OperationFailed("find", name, detail="it is not installed", hint="Install it: apt install iptables")


def _run(command: Sequence[str], stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, errors="replace")
    if done.returncode:
        detail = done.stderr.strip() or f"exit status {done.returncode}"
        if found := re.search(r"line:? (\d+)", detail):
            detail += f" ({''.join(stdin.splitlines()[int(found[1]) - 1 : int(found[1])])})"
        raise OperationFailed("run", os.path.basename(command[0]), detail=detail)
    return done.stdout


@contextlib.contextmanager
def _exclusive(roots: Roots) -> Iterator[None]:
    """One at a time in all supervisors: what is read (iptables-save) is still true when it is acted on."""
    try:
        lock = os.open(roots.state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise OperationFailed.of("lock", roots.state, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
