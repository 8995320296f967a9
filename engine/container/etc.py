"""The three files that we generate for a container: /etc/hosts, /etc/hostname, /etc/resolv.conf."""

from __future__ import annotations

from collections.abc import Sequence

from engine.spec.container import ContainerSpec
from engine.spec.state import Endpoint
from engine.vocabulary import DNS_ADDRESS, HOST_GATEWAY

_LOCAL = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
)


def hosts(spec: ContainerSpec, hostname: str, endpoints: Sequence[Endpoint], *, host: str = "") -> str:
    """hosts(5): localhost (or all of `host`, the host's text), extra_hosts (host-gateway is the first network's gateway),
    our own addresses."""
    gateway = next((end.ipv4_gateway for end in endpoints if end.ipv4_gateway not in ("", "0.0.0.0")), "127.0.0.1")
    lines = [f"{host.rstrip()}\n" if host else _LOCAL]
    for name, address in spec.extra_hosts:
        lines.append(f"{gateway if address == HOST_GATEWAY else address}\t{name}\n")
    return "".join(lines + own_lines(spec, hostname, endpoints))


def own_lines(spec: ContainerSpec, hostname: str, endpoints: Sequence[Endpoint]) -> list[str]:
    """The lines of the container's own addresses."""
    full = f"{hostname}.{spec.domainname} {hostname}" if spec.domainname else hostname
    if not spec.domainname and "." in hostname:
        full = f"{hostname} {hostname.partition('.')[0]}"
    return [f"{address}\t{full}\n" for end in endpoints for address in (end.ipv4_address, end.ipv6_address) if address]


def resolv_conf(spec: ContainerSpec, host: str, *, embedded: bool) -> str:
    """resolv.conf(5): our own server on our networks; else `dns` of the specification or `host`, the host's text."""
    kept = [
        line for line in host.splitlines() if line.split()[:1] in (["search"], ["domain"], ["options"], ["nameserver"])
    ]
    servers = [DNS_ADDRESS] if embedded else list(spec.dns)
    lines = [f"nameserver {server}" for server in servers] or [k for k in kept if k.startswith("nameserver")]
    if spec.dns_search:
        domains = [domain for domain in spec.dns_search if domain != "."]  # the root domain: no search
        lines += [f"search {' '.join(domains)}"] if domains else []
    else:
        lines += [k for k in kept if k.startswith(("search", "domain"))]
    if spec.dns_opt:
        lines.append(f"options {' '.join(spec.dns_opt)}")
    elif embedded:
        lines.append("options ndots:0")
    else:
        lines += [k for k in kept if k.startswith("options")]
    return "\n".join(lines) + "\n"
