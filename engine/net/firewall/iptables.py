"""The packet filter for hosts with legacy iptables, or kernels without nf_tables; iptables-restore changes many rules
at once.

    filter FORWARD ─▶ COMPOSER-FORWARD ─▶ COMPOSER-IN   -o <bridge> ─▶ CMP-<id>: established, DNAT, own ─▶ ACCEPT
                                       │                                         all else ─▶ DROP
                                       └▶ COMPOSER-OUT  -i <bridge> ─▶ ACCEPT
    filter COMPOSER-FORWARD, INPUT ─▶ COMPOSER-INTERNAL, COMPOSER-INPUT: what internal networks may not
    nat PREROUTING, OUTPUT (to local addresses) ─▶ COMPOSER-NAT   one DNAT a published port
    nat POSTROUTING ─▶ COMPOSER-MASQ    leaves a bridge's subnet, or hairpins ─▶ MASQUERADE

Our rules are at the end of FORWARD, so that rules of others come first. Every rule of a network or container has the
comment composer:<state root>:<id>, to find leftovers and to leave rules of other state roots alone. A change reads the
current rules and makes one atomic update per table, so it can be repeated, and repairs.

Functions that wait for a program block: call them in a thread (asyncio.to_thread). A change that has begun is completed
there, even if its caller is cancelled; a cancelled asyncio.create_subprocess_exec may never return
(https://github.com/python/cpython/issues/125502).
"""

from __future__ import annotations

import ipaddress
import os
import re
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from engine import digest
from engine.errors import OperationFailed
from engine.net import options
from engine.net.firewall import probe, userchain
from engine.net.firewall.published_ports import Port
from engine.paths import Roots
from engine.spec import networkoptions
from engine.spec.network import NetworkRecord


class Rule(Struct, frozen=True):
    """`text` follows -A: "COMPOSER-NAT -p tcp …"."""

    version: int
    table: str
    text: str


Rules = list[Rule]
Saved = dict[str, list[str]]
"""Table → its lines as iptables-save(8) prints them."""

_CHAINS = {
    "filter": (
        "COMPOSER-FORWARD",
        "COMPOSER-INTERNAL",
        "COMPOSER-IN",
        "COMPOSER-OUT",
        "COMPOSER-INPUT",
        "COMPOSER-DIRECT",
    ),
    "nat": ("COMPOSER-NAT", "COMPOSER-MASQ"),
}
# Never redirect packets from other hosts to a loopback address; [::1] cannot leave lo (relay/relay.py serves it).
_LOCAL = {4: "! -d 127.0.0.0/8 ", 6: "! -d ::1/128 "}
FOLDERS = "/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin"
"""The folders of the programs."""

_OURS = "COMPOSER-", "CMP-"
"""The prefixes of our chains' names. All other rules of ours are in these chains, or jump to them."""
_BEGIN, _INNER = "-I", "-A"


def _jumps(table: str, version: int) -> tuple[tuple[str, str], ...]:
    """(-I at the beginning of a chain of the kernel's | -A inside ours, rule)."""
    if table == "filter":
        return (
            (_BEGIN, "FORWARD -j COMPOSER-INTERNAL"),
            (_INNER, "FORWARD -j COMPOSER-FORWARD"),
            (_BEGIN, "INPUT -j COMPOSER-INPUT"),
            (_INNER, "COMPOSER-FORWARD -j COMPOSER-IN"),
            (_INNER, "COMPOSER-FORWARD -j COMPOSER-OUT"),
        )
    return (
        (_BEGIN, f"PREROUTING {_LOCAL[version]}-m addrtype --dst-type LOCAL -j COMPOSER-NAT"),
        (_BEGIN, f"OUTPUT {_LOCAL[version]}-m addrtype --dst-type LOCAL -j COMPOSER-NAT"),
        (_BEGIN, "POSTROUTING -j COMPOSER-MASQ"),
    )


def _wanted(table: str, version: int, present: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The jumps; first the one to the administrator's chain, if it exists."""
    requested = table == "filter" and _declared(present, userchain.NAME)
    return (*_jumps(table, version), *(((_BEGIN, f"FORWARD -j {userchain.NAME}"),) if requested else ()))


def tag(roots: Roots) -> str:
    """Eight hex digits for the state root, which distinguish its rules and links from those of others."""
    return digest.tag(roots.state)


def _comment(roots: Roots, owner: str) -> str:
    return f"-m comment --comment {_mark(roots, owner)}"


def _mark(roots: Roots, owner: str) -> str:
    return f"composer:{tag(roots)}:{owner[:12]}"


def _chain(record: NetworkRecord) -> str:
    return f"CMP-{record.id[:12]}"


def versions(record: NetworkRecord) -> tuple[int, ...]:
    return (4, 6) if record.spec.enable_ipv6 else (4,)


def network_rules(roots: Roots, record: NetworkRecord) -> Rules:
    """The rules that isolate the network, and those that let it out."""
    return [rule for version in versions(record) for rule in _network_rules(roots, record, version)]


def _network_rules(roots: Roots, record: NetworkRecord, version: int) -> Rules:
    bridge, chain, comment = record.bridge, _chain(record), _comment(roots, record.id)
    own = "ACCEPT" if options.is_true(record, networkoptions.ICC) else "DROP"
    mode = options.gateway_mode(record, version)
    trusted = filter(None, record.spec.driver_opts.get(networkoptions.TRUSTED, "").split(":"))
    filtering = [
        f"{chain} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        f"{chain} -m conntrack --ctstate DNAT -j ACCEPT",
        f"{chain} -i {bridge} -j {own}",
        *(f"{chain} -i {link.strip()} -j ACCEPT" for link in trusted),
        *([f"{chain} -j ACCEPT"] if mode == "nat-unprotected" else []),
        *([f"{chain} -p {'icmp' if version == 4 else 'ipv6-icmp'} -j ACCEPT"] if mode == "routed" else []),
        f"COMPOSER-IN -o {bridge} {comment} -j {chain}",
        f"COMPOSER-OUT -i {bridge} {comment} -j ACCEPT",
    ]
    if mode == "routed":
        filtering.append(f"{chain} -g COMPOSER-DIRECT")
    filtering.append(f"{chain} -j DROP")
    if record.spec.internal:
        filtering = [text for text in filtering if not text.startswith("COMPOSER-OUT")]
        filtering += _internal_rules(record, version, comment)
    rules = [Rule(version, "filter", text) for text in filtering]
    return rules if record.spec.internal or mode == "routed" else rules + _translation(record, version, comment)


def _internal_rules(record: NetworkRecord, version: int, comment: str) -> list[str]:
    """Accept only packets within the network; on the host, only DNS and echo requests (ping) to its own gateway."""
    bridge, protocol = record.bridge, "icmp" if version == 4 else "ipv6-icmp"
    echo = "-m icmp --icmp-type 8" if version == 4 else "-m icmp6 --icmpv6-type 128"
    found = [
        f"COMPOSER-INTERNAL -i {bridge} ! -o {bridge} {comment} -j DROP",
        f"COMPOSER-INTERNAL ! -i {bridge} -o {bridge} {comment} -j DROP",
        f"COMPOSER-INPUT -i {bridge} -m conntrack --ctstate RELATED,ESTABLISHED {comment} -j ACCEPT",
    ]
    if version == 6:
        found += [
            f"COMPOSER-INPUT -i {bridge} -p {protocol} -m icmp6 --icmpv6-type {kind} {comment} -j ACCEPT"
            for kind in (133, 135, 136)
        ]
    for pool in record.pools:
        if (":" in pool.gateway) == (version == 6) and pool.gateway:
            found += [
                f"COMPOSER-INPUT -d {pool.gateway} -i {bridge} -p {p} -m {p} --dport 53 {comment} -j ACCEPT"
                for p in ("udp", "tcp")
            ]
            found.append(f"COMPOSER-INPUT -d {pool.gateway} -i {bridge} -p {protocol} {echo} {comment} -j ACCEPT")
    return [*found, f"COMPOSER-INPUT -i {bridge} {comment} -j DROP"]


def _translation(record: NetworkRecord, version: int, comment: str) -> Rules:
    rules = []
    for pool in record.pools:
        subnet = ipaddress.ip_network(pool.subnet)
        if subnet.version != version:
            continue
        if options.is_true(record, networkoptions.MASQUERADE):
            source = record.spec.driver_opts.get(networkoptions.SOURCE[version], "")
            target = f"SNAT --to-source {source}" if source else "MASQUERADE"
            rules.append(Rule(version, "nat", f"COMPOSER-MASQ -s {subnet} ! -o {record.bridge} {comment} -j {target}"))
        hairpin = f"-s {subnet} -d {subnet} -m conntrack --ctstate DNAT {comment}"
        rules.append(Rule(version, "nat", f"COMPOSER-MASQ {hairpin} -j MASQUERADE"))
    return rules


def _port_rules(roots: Roots, owner: str, ports: Iterable[Port]) -> Rules:
    """DNAT to the container's address for each published port, or access to it if its network is routed."""
    rules, comment = [], _comment(roots, owner)
    for port in ports:
        if port.inlet or port.origin:
            continue  # a rule of nf_tables
        match = f"-p {port.protocol} -m {port.protocol} --dport"
        if port.direct:
            text = f"COMPOSER-DIRECT -d {port.address} {match} {port.container_port} {comment} -j ACCEPT"
            rules.append(Rule(port.version, "filter", text))
            continue
        where = f"-d {port.host_ip} " if port.host_ip else ""
        address = f"[{port.address}]" if port.version == 6 else port.address
        to = f"-j DNAT --to-destination {address}:{port.container_port}"
        rules.append(Rule(port.version, "nat", f"COMPOSER-NAT {where}{match} {port.host_port} {comment} {to}"))
    return rules


def add_networks(roots: Roots, records: Sequence[NetworkRecord]) -> None:
    """Replace the networks' rules, and create our chains if they are missing."""
    for record in records:
        for version in versions(record):
            _add(roots, record, version)


def _add(roots: Roots, record: NetworkRecord, version: int) -> None:
    saved = _save(version)
    lines: dict[str, list[str]] = {}
    for table, chains in _CHAINS.items():
        present = saved.get(table, [])
        missing = [f":{chain} - [0:0]" for chain in chains if not _declared(present, chain)]
        jumps = [f"{how} {rule}" for how, rule in _wanted(table, version, present) if f"-A {rule}" not in present]
        # Declaring a chain that exists empties it.
        chain = [f":{_chain(record)} - [0:0]"] if table == "filter" else []
        old = _deletions(present, roots, lambda owner: owner == record.id[:12])
        new = [
            f"-A {rule.text}" for rule in network_rules(roots, record) if (rule.version, rule.table) == (version, table)
        ]
        lines[table] = [*missing, *chain, *jumps, *old, *new]
    _restore(version, lines)


def remove_networks(
    roots: Roots, records: Sequence[NetworkRecord], left: Sequence[NetworkRecord], forget: Callable[[], None]
) -> None:
    """Remove the networks' rules, and our chains of the IP versions that no remaining network has; then call `forget`."""
    removed = {record.id[:12] for record in records}
    for version in sorted({version for record in records for version in versions(record)}):
        saved = _save(version)
        _purge(roots, version, saved, lambda owner: owner in removed)
        present = _save(version).get("filter", []) if saved else []
        flushed = [chain for chain in map(_chain, records) if _declared(present, chain)]  # nothing jumped to them
        if flushed:
            _restore(version, {"filter": [f"{verb} {chain}" for verb in ("-F", "-X") for chain in flushed]})
    unhook(roots, left)
    forget()


def unhook(roots: Roots, left: Sequence[NetworkRecord]) -> None:
    """Remove our chains, with any rules left in them, for IP versions that no remaining network has."""
    for version in (4, 6):
        if not any(version in versions(record) for record in left):
            saved = _save(version)
            if _purge(roots, version, saved, lambda owner: True):
                saved = _save(version)
            _unhook(version, saved)


def is_whole(roots: Roots, records: Sequence[NetworkRecord]) -> bool:
    """Whether the rules of all networks exist."""
    for version in (4, 6):
        found = [record for record in records if version in versions(record)]
        saved = _save(version) if found else {}
        if not all(_is_in_place(roots, saved, record, version) for record in found):
            return False
    return True


def sweep(
    roots: Roots, records: Sequence[NetworkRecord], owners: Collection[str], ports: Mapping[str, Sequence[Port]]
) -> None:
    """Remove the rules of containers that are not in `owners` and of networks that are not in `records`; restore flushed rules
    of `records` and of `ports` (container id → published ports)."""
    for version in (4, 6):
        found = [record for record in records if version in versions(record)]
        if not found:
            continue
        alive = {record.id[:12] for record in found} | {owner[:12] for owner in owners}
        saved = _save(version)
        if _purge(roots, version, saved, lambda owner, alive=alive: owner not in alive):  # type: ignore[misc]
            saved = _save(version)
        for record in found:
            if not _is_in_place(roots, saved, record, version):
                _add(roots, record, version)
        present = "\n".join(line for lines in saved.values() for line in lines)
        flushed = {owner: of for owner, of in ports.items() if _mark(roots, owner) not in present}
        _change(
            "-A", [r for owner, of in flushed.items() for r in _port_rules(roots, owner, of) if r.version == version]
        )
    unhook(roots, records)


def _is_in_place(roots: Roots, saved: Saved, record: NetworkRecord, version: int) -> bool:
    """Whether all jumps exist, and the right number of rules for the network; each is in its chain or has its
    comment."""
    present = {line for lines in saved.values() for line in lines}
    jumps = {f"-A {rule}" for table in _CHAINS for _, rule in _wanted(table, version, saved.get(table, []))}
    if jumps - present or not _declared(saved.get("filter", []), _chain(record)):
        return False
    marks = f"-A {_chain(record)} ", _mark(roots, record.id)
    found = sum(any(mark in line for mark in marks) for lines in saved.values() for line in lines)
    return found == sum(rule.version == version for rule in network_rules(roots, record))


def publish(roots: Roots, ports: Sequence[tuple[str, Port]]) -> None:
    """Append the rules, atomically per table and IP version."""
    _change("-A", [rule for owner, port in ports for rule in _port_rules(roots, owner, [port])])


def withdraw(roots: Roots, ports: Sequence[tuple[str, Port]]) -> None:
    """Remove the rules; missing ones are ignored."""
    rules = [rule for owner, port in ports for rule in _port_rules(roots, owner, [port])]
    try:
        _change("-D", rules)
    except OperationFailed:
        owners = {owner[:12] for owner, _ in ports}
        for version in sorted({rule.version for rule in rules}):
            _purge(roots, version, _save(version), lambda found: found in owners)


def _change(action: str, rules: Rules) -> None:
    for version in sorted({rule.version for rule in rules}):
        lines: dict[str, list[str]] = {}
        for rule in rules:
            if rule.version == version:
                lines.setdefault(rule.table, []).append(f"{action} {rule.text}")
        _restore(version, lines)


def _purge(roots: Roots, version: int, saved: Saved, unwanted: Callable[[str], bool]) -> bool:
    """Remove every rule of this state root with an unwanted owner, and the chain that it jumps to. Returns whether
    there was one."""
    lines: dict[str, list[str]] = {}
    for table, present in saved.items():
        if deletions := _deletions(present, roots, unwanted):
            chains = sorted({line.split()[-1] for line in deletions if line.split()[-1].startswith("CMP-")})
            lines[table] = [*deletions, *(f"{how} {chain}" for how in ("-F", "-X") for chain in chains)]
    _restore(version, lines)
    return bool(lines)


def _unhook(version: int, saved: Saved) -> None:
    """Remove our chains and the jumps to them, unless another state root uses them."""
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
    """The current rules; empty if none of them is ours."""
    known = probe.chains(version)
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
    """The program to use: /usr/sbin/iptables may be either kind, and legacy tables need the legacy one."""
    names = [name.replace("iptables", "iptables-legacy")] if probe.legacy() or not probe.works() else []
    for one in (*names, name):
        for folder in FOLDERS:
            path = f"{folder}/{one.replace('iptables', 'ip6tables') if version == 6 else one}"
            if os.access(path, os.X_OK):
                return path
    raise OperationFailed("find", name, detail="it is not installed", hint="Install it: apt install iptables")


def _run(command: Sequence[str], stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, errors="replace")
    if done.returncode:
        detail = done.stderr.strip() or f"exit status {done.returncode}"
        if found := re.search(r"line:? (\d+)", detail):
            detail += f" ({''.join(stdin.splitlines()[int(found[1]) - 1 : int(found[1])])})"
        raise OperationFailed("run", os.path.basename(command[0]), detail=detail)
    return done.stdout
