"""Leave port 53 free for a container that serves DNS itself. Our server normally binds 127.0.0.11:53 in the container's
namespace. A process that binds 0.0.0.0:53 there (Pi-hole, CoreDNS …) would then fail. So for a container that publishes
or exposes port 53, we bind free ports, and packet rules inside the namespace redirect 127.0.0.11:53 to them.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Iterable

from engine.errors import OperationFailed
from engine.net.firewall import netlink, probe
from engine.net.fixed_names import TABLE_PREFIX
from engine.net.rtnetlink import inside
from engine.spec.container import PortBinding
from engine.vocabulary import DNS_ADDRESS

_TABLE = f"{TABLE_PREFIX}dns"


def wanted(ports: Iterable[PortBinding], exposed: Iterable[str]) -> bool:
    """Whether the container itself needs port 53. `exposed`: "53", "53/udp", "50-60/tcp" …"""
    if any(port.container_port == 53 for port in ports):
        return True
    for entry in exposed:
        first, _, last = entry.partition("/")[0][:11].partition("-")
        if first.isdecimal() and int(first) <= 53 <= int(last if last.isdecimal() else first):
            return True
    return False


async def redirect(pid: int, udp: int, tcp: int) -> None:
    """Redirect port 53 of 127.0.0.11 in the network namespace of `pid` to these ports, unless they are 53."""
    import asyncio  # late: building bundles needs only `wanted`

    if (udp, tcp) != (53, 53):
        await asyncio.to_thread(_redirect, pid, udp, tcp)


def _redirect(pid: int, udp: int, tcp: int) -> None:
    try:
        space = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OperationFailed.of("open the network namespace of process", pid, error) from error
    try:
        with inside(space):
            if probe.native():
                _by_table(udp, tcp)
            else:
                _by_program(udp, tcp)  # a child inherits the namespace of the thread that creates it
    finally:
        os.close(space)


def _by_table(udp: int, tcp: int) -> None:
    address = socket.inet_pton(socket.AF_INET, DNS_ADDRESS)
    rules = []
    for protocol, port in ((17, udp), (6, tcp)):
        match = netlink.meta(15) + netlink.compare(b"\2") + netlink.payload(1, 16, 4) + netlink.compare(address)
        match += netlink.meta(16) + netlink.compare(bytes((protocol,)))
        match += netlink.payload(2, 2, 2) + netlink.compare(struct.pack(">H", 53))
        to = netlink.load(address) + netlink.load(struct.pack(">H", port), 9)
        rules.append(netlink.rule(_TABLE, "output", match + to + netlink.translate(1, netlink.IPV4, 8, 9)))
    made = [netlink.table(_TABLE), netlink.delete_table(_TABLE), netlink.table(_TABLE)]
    made.append(netlink.chain(_TABLE, "output", "nat", netlink.OUTPUT, -100))
    with netlink.Nfnetlink() as kernel:
        kernel.do("redirect DNS in", "the container", [*made, *rules])


def _by_program(udp: int, tcp: int) -> None:
    from engine.net.firewall import iptables

    rules = "".join(
        f"-I OUTPUT -d {DNS_ADDRESS} -p {protocol} -m {protocol} --dport 53 -j DNAT --to-destination {DNS_ADDRESS}:{port}\n"
        for protocol, port in (("udp", udp), ("tcp", tcp))
    )
    command = iptables.binary("iptables-restore", 4)
    text = f"*nat\n{rules}COMMIT\n"
    done = subprocess.run([command, "-w", "--noflush"], input=text, capture_output=True, text=True)
    if done.returncode:
        raise OperationFailed("run", os.path.basename(command), detail=done.stderr.strip())
