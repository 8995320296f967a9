"""Published and exposed ports."""

from __future__ import annotations

from composer.model.service import Port
from composer.plan.translate.scope import Scope
from engine.spec.container import PortBinding
from engine.vocabulary import IP_PROTOCOLS

MODES = ("", "ingress", "host")


def ports(scope: Scope) -> tuple[PortBinding, ...]:
    """The published ports. On a single machine, `ingress` and `host` mean the same: the port is bound on the host.
    conflicts.py refuses ports with `network_mode: none`."""
    found = []
    for index, port in enumerate(scope.service.ports):
        protocol = (port.protocol or "tcp").lower()
        _check(scope, index, port, protocol)
        found.append(
            PortBinding(
                container_port=port.target,
                protocol=protocol,
                host_ip=port.host_ip.strip("[]"),
                host_port=port.published,
            )
        )
    return tuple(dict.fromkeys(found)) if scope.service.network_mode not in ("host", "none") else ()


def _check(scope: Scope, index: int, port: Port, protocol: str) -> None:
    path = ("ports", index)
    if protocol not in IP_PROTOCOLS:
        scope.refuse((*path, "protocol"), f"{port.protocol!r} is not one of {', '.join(IP_PROTOCOLS)}")
    if port.mode not in MODES:
        scope.refuse((*path, "mode"), f"{port.mode!r} is not one of ingress, host")
    if not 0 < port.target < 65536:
        scope.refuse((*path, "target"), f"{port.target} is not within 1 to 65535")
    if port.published:
        first, dash, last = port.published.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            scope.refuse((*path, "published"), f"{port.published!r} is neither a port nor a range like 8000-8010")
        elif not int(first) <= int(last or first) < 65536:
            scope.refuse((*path, "published"), f"{port.published!r} is not within 0 to 65535")


def expose(scope: Scope) -> tuple[str, ...]:
    """The exposed ports: "80/tcp" for "80"; ranges stay ranges. Published ports are exposed as well."""
    found = []
    for index, text in enumerate(scope.service.expose):
        numbers, _, protocol = text.partition("/")
        protocol = protocol.lower() or "tcp"
        first, dash, last = numbers.partition("-")
        if protocol not in IP_PROTOCOLS or not first.isdecimal() or (dash and not last.isdecimal()):
            scope.refuse(
                ("expose", index), f"{text!r} is neither PORT, FIRST-LAST nor one of these with /tcp, /udp, /sctp"
            )
        found.append(f"{numbers}/{protocol}")
    return tuple(dict.fromkeys(found))
