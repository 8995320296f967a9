"""Port 53 left to a container that serves DNS itself.

Our server binds 127.0.0.11:53 in every container's namespace, which costs nothing. A process that binds 0.0.0.0:53
there would find the port taken (Pi-hole, CoreDNS …); so for a container that publishes or exposes port 53 our sockets are
bound to free ports, and packet rules inside the namespace lead from 127.0.0.11:53 to them: an iptables-restore more.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterable

from engine.errors import OperationFailed
from engine.net import nat
from engine.net.rtnetlink import inside
from engine.spec.container import PortBinding

ADDRESS = "127.0.0.11"


def wanted(ports: Iterable[PortBinding], exposed: Iterable[str]) -> bool:
    """Whether the container has a use of its own for port 53. `exposed`: "53", "53/udp", "50-60/tcp" …"""
    if any(port.container_port == 53 for port in ports):
        return True
    for entry in exposed:
        first, _, last = entry.partition("/")[0].partition("-")
        if first.isdecimal() and int(first) <= 53 <= int(last if last.isdecimal() else first):
            return True
    return False


async def redirect(pid: int, udp: int, tcp: int) -> None:
    """Lead port 53 of 127.0.0.11, in the network namespace of `pid`, to these ports; nothing where they are 53."""
    if (udp, tcp) != (53, 53):
        await asyncio.to_thread(_redirect, pid, udp, tcp)


def _redirect(pid: int, udp: int, tcp: int) -> None:
    rules = "".join(
        f"-I OUTPUT -d {ADDRESS} -p {protocol} -m {protocol} --dport 53 -j DNAT --to-destination {ADDRESS}:{port}\n"
        for protocol, port in (("udp", udp), ("tcp", tcp))
    )
    command = nat.binary("iptables-restore", 4)
    try:
        space = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OperationFailed.of("open the network namespace of process", pid, error) from error
    try:
        with inside(space):  # a child is born in the namespace of the thread that makes it
            done = subprocess.run(
                [command, "-w", "--noflush"], input=f"*nat\n{rules}COMMIT\n", capture_output=True, text=True
            )
    finally:
        os.close(space)
    if done.returncode:
        raise OperationFailed("run", os.path.basename(command), detail=done.stderr.strip())
