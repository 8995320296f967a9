"""Mutually exclusive keys of a service: Docker Engine rejects them at container creation, or ignores one of them."""

from __future__ import annotations

from composer.model import Service
from composer.plan.translate.scope import Scope

JOINED = (
    "hostname",
    "domainname",
    "dns",
    "dns_search",
    "dns_opt",
    "extra_hosts",
    "links",
    "mac_address",
    "ports",
    "expose",
)
"""Keys that only the container that owns the shared network namespace can set."""


def check(scope: Scope) -> None:
    service = scope.service
    mode = service.network_mode
    if mode.startswith(("service:", "container:")):
        for key in _given(service, JOINED):
            scope.refuse(
                (key,),
                f"cannot be combined with network_mode {mode!r}: set it on the container whose network is shared",
            )
    if mode in ("host", "none"):
        for key in _given(service, ("links", "mac_address")):
            scope.refuse((key,), f"cannot be combined with network_mode {mode!r}")
        for key in _given(service, ("ports",)):
            scope.warn((key,), f"nothing is published with network_mode {mode!r}")
    if service.uts == "host":
        for key in _given(service, ("hostname", "domainname")):
            scope.refuse((key,), "cannot be combined with uts: host, which uses the host's name")


def _given(service: Service, keys: tuple[str, ...]) -> list[str]:
    return [key for key in keys if getattr(service, key)]
