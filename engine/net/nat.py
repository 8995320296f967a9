"""Packet filter rules: isolation of bridges, masquerading, published ports. One iptables-restore for what comes together.

    filter FORWARD ─▶ COMPOSER-FORWARD ─▶ COMPOSER-IN   -o <bridge> ─▶ CMP-<id>: established, DNAT, own ─▶ ACCEPT; else DROP
                                       └▶ COMPOSER-OUT  -i <bridge> ─▶ ACCEPT (internal: DROP)
    filter INPUT   ─▶ COMPOSER-INPUT    -i <bridge> to 127.0.0.0/8, new ─▶ DROP (route_localnet lets it come this far)
    nat PREROUTING, OUTPUT (to local addresses) ─▶ COMPOSER-NAT   one DNAT a published port
    nat POSTROUTING ─▶ COMPOSER-MASQ    leaves a bridge's subnet, comes from loopback, or hairpins ─▶ MASQUERADE

Every rule of a network or container carries the comment composer:<id>, so that leftovers are found. iptables-nft and
iptables-legacy read the same text (iptables-restore(8)).
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import shutil
from collections.abc import Iterable, Sequence

from engine.errors import OperationFailed
from engine.spec.container import PortBinding
from engine.spec.network import NetworkRecord

ICC_OPTION = "com.docker.network.bridge.enable_icc"
MASQUERADE_OPTION = "com.docker.network.bridge.enable_ip_masquerade"
HOST_BINDING_OPTION = "com.docker.network.bridge.host_binding_ipv4"
GATEWAY_MODE_OPTION = "com.docker.network.bridge.gateway_mode_ipv4"

Rules = list[tuple[str, str]]
"""(table, rule without -A), for instance ("nat", "COMPOSER-NAT -p tcp …")."""

_CHAINS = {
    "filter": ("COMPOSER-FORWARD", "COMPOSER-IN", "COMPOSER-OUT", "COMPOSER-INPUT"),
    "nat": ("COMPOSER-NAT", "COMPOSER-MASQ"),
}
_HOOKS: dict[str, tuple[str, ...]] = {
    "filter": ("FORWARD -j COMPOSER-FORWARD", "INPUT -j COMPOSER-INPUT"),
    "nat": (
        "PREROUTING -m addrtype --dst-type LOCAL -j COMPOSER-NAT",
        "OUTPUT -m addrtype --dst-type LOCAL -j COMPOSER-NAT",
        "POSTROUTING -j COMPOSER-MASQ",
    ),
}


def _network_rules(record: NetworkRecord, version: int) -> Rules:
    bridge, chain = record.bridge, _chain(record)
    options = record.spec.driver_opts
    comment = f"-m comment --comment composer:{record.id[:12]}"
    own = "ACCEPT" if options.get(ICC_OPTION, "true").lower() != "false" else "DROP"
    rules = [
        ("filter", f"{chain} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
        ("filter", f"{chain} -m conntrack --ctstate DNAT -j ACCEPT"),
        ("filter", f"{chain} -i {bridge} -j {own}"),
        ("filter", f"{chain} -j DROP"),
        ("filter", f"COMPOSER-IN -o {bridge} {comment} -j {chain}"),
        ("filter", f"COMPOSER-OUT -i {bridge} {comment} -j {'DROP' if record.spec.internal else 'ACCEPT'}"),
    ]
    if version == 4:
        loopback = f"-i {bridge} -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED {comment} -j DROP"
        rules.append(("filter", f"COMPOSER-INPUT {loopback}"))
    if record.spec.internal:
        return rules
    for pool in record.pools:
        subnet = ipaddress.ip_network(pool.subnet)
        if subnet.version != version:
            continue
        if options.get(MASQUERADE_OPTION, "true").lower() != "false":
            rules.append(("nat", f"COMPOSER-MASQ -s {subnet} ! -o {bridge} {comment} -j MASQUERADE"))
        hairpin = f"-s {subnet} -d {subnet} -m conntrack --ctstate DNAT {comment}"
        rules.append(("nat", f"COMPOSER-MASQ {hairpin} -j MASQUERADE"))
    if version == 4:
        rules.append(("nat", f"COMPOSER-MASQ -s 127.0.0.0/8 -o {bridge} {comment} -j MASQUERADE"))
    return rules


def _chain(record: NetworkRecord) -> str:
    return f"CMP-{record.id[:12]}"


def port_rules(container_id: str, address: str, ports: Iterable[PortBinding]) -> Rules:
    """One DNAT for each published port that is bound on an IPv4 address of the host."""
    rules = []
    for port in ports:
        if ":" in port.host_ip:
            continue
        where = "" if port.host_ip in ("", "0.0.0.0") else f"-d {port.host_ip} "
        rules.append(
            (
                "nat",
                f"COMPOSER-NAT {where}-p {port.protocol} -m {port.protocol} --dport {port.host_port} "
                f"-m comment --comment composer:{container_id[:12]} "
                f"-j DNAT --to-destination {address}:{port.container_port}",
            )
        )
    return rules


def _versions(record: NetworkRecord) -> tuple[int, ...]:
    return (4, 6) if record.spec.enable_ipv6 else (4,)


async def add_network(record: NetworkRecord) -> None:
    """Add the network's rules, and our chains where they are missing."""
    chains = (("filter", _chain(record)),)
    for version in _versions(record):
        await _hook(version)
        try:
            await apply(_network_rules(record, version), chains=chains, version=version)
        except OperationFailed:
            # Another supervisor may have removed the chains with the last network in this moment.
            _hooked.clear()
            await _hook(version)
            await apply(_network_rules(record, version), chains=chains, version=version)


async def remove_network(record: NetworkRecord) -> None:
    for version in _versions(record):
        own = [(table, rule) for table, rule in _network_rules(record, version) if rule.startswith("COMPOSER")]
        await withdraw(own, version=version)
        for action in ("-F", "-X"):
            await _run((_binary("iptables", version), "-w", "-t", "filter", action, _chain(record)), check=False)


async def unhook() -> None:
    """Remove our chains and the jumps to them; called when no network is left."""
    for version, _ in sorted(_hooked) or [(4, 0)]:
        lines = []
        for table, chains in _CHAINS.items():
            jumps = [f"-D {hook}" for hook in _HOOKS[table]]
            inner = ["-D COMPOSER-FORWARD -j COMPOSER-IN", "-D COMPOSER-FORWARD -j COMPOSER-OUT"] if table == "filter" else []
            lines += [f"*{table}", *jumps, *inner, *(f"-X {chain}" for chain in chains), "COMMIT"]
        await _run((_binary("iptables-restore", version), "-w", "--noflush"), check=False, stdin="\n".join(lines) + "\n")
    _hooked.clear()


async def apply(rules: Rules, *, chains: Sequence[tuple[str, str]] = (), version: int = 4) -> None:
    """Append the rules, all or none, making (or emptying) `chains`, (table, name), first."""
    if rules or chains:
        await _restore(_text("-A", rules, chains), version)


async def withdraw(rules: Rules, *, version: int = 4) -> None:
    """Remove the rules; those that do not exist any more do not matter."""
    if not rules:
        return
    try:
        await _restore(_text("-D", rules, ()), version)
    except OperationFailed:
        for table, rule in rules:
            await _run((_binary("iptables", version), "-w", "-t", table, "-D", *rule.split()), check=False)


async def leftovers(alive: set[str], version: int = 4) -> Rules:
    """Our rules whose owner is not in `alive` (12-digit ids of networks and containers)."""
    found: Rules = []
    for table in ("filter", "nat"):
        text = await _run((_binary("iptables-save", version), "-t", table), check=True)
        for line in text.splitlines():
            words = line.split()
            owner = next((w.strip('"').removeprefix("composer:") for w in words if w.strip('"').startswith("composer:")), "")
            if owner and owner not in alive and words[0] == "-A":
                found.append((table, line.removeprefix("-A ").replace('"', "")))
    return found


def _text(action: str, rules: Rules, chains: Sequence[tuple[str, str]]) -> str:
    lines = []
    for table in ("filter", "nat"):
        declared = [f":{name} - [0:0]" for where, name in chains if where == table]
        wanted = [f"{action} {rule}" for where, rule in rules if where == table]
        if declared or wanted:
            lines += [f"*{table}", *declared, *wanted, "COMMIT"]
    return "\n".join(lines) + "\n"


_hooked: set[tuple[int, int]] = set()


async def _hook(version: int) -> None:
    """Make our chains and the jumps to them where they are missing; once a process and network namespace."""
    key = (version, os.stat("/proc/self/ns/net").st_ino)
    if key in _hooked:
        return
    lines = []
    saves = [_run((_binary("iptables-save", version), "-t", table), check=True) for table in _CHAINS]
    for table, present in zip(_CHAINS, await asyncio.gather(*saves), strict=True):
        words = present.splitlines()
        made = {line.split()[0] for line in words if line.startswith(":")}
        missing = [f":{chain} - [0:0]" for chain in _CHAINS[table] if f":{chain}" not in made]
        jumps = [f"-I {hook}" for hook in _HOOKS[table] if f"-A {hook}" not in words]
        if "COMPOSER-FORWARD" in _CHAINS[table] and ":COMPOSER-FORWARD" not in made:
            jumps += ["-A COMPOSER-FORWARD -j COMPOSER-IN", "-A COMPOSER-FORWARD -j COMPOSER-OUT"]
        if missing or jumps:
            lines += [f"*{table}", *missing, *jumps, "COMMIT"]
    if lines:
        await _restore("\n".join(lines) + "\n", version)
    _hooked.add(key)


def _binary(name: str, version: int) -> str:
    name = name.replace("iptables", "ip6tables") if version == 6 else name
    path = shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/usr/local/sbin")
    if path is None:
        raise OperationFailed("find", name, detail="it is not installed", hint="Install it: apt install iptables")
    return path


async def _restore(text: str, version: int) -> None:
    await _run((_binary("iptables-restore", version), "-w", "--noflush"), check=True, stdin=text)


async def _run(command: Sequence[str], *, check: bool, stdin: str = "") -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin.encode())
    if check and process.returncode:
        detail = err.decode(errors="replace").strip() or f"exit status {process.returncode}"
        raise OperationFailed("run", " ".join(command[:1]), detail=detail + (f"\n{stdin}" if stdin else ""))
    return out.decode(errors="replace")
