"""Mutually exclusive keys of a service: Docker Engine rejects them at container creation, or ignores one of them."""

from __future__ import annotations

from composer.model import Service
from composer.plan.translate.scope import Scope

DEFAULT_MODES = ("bridge", "default")

_OWNERS = ("hostname", "dns", "extra_hosts", "links", "external_links", "ports", "expose")
"""Keys that only the container that owns the shared network namespace can set."""
_UNUSED = ("domainname", "dns_search", "dns_opt", "mac_address")
"""Keys that have no effect in another container's network namespace, and that Docker Engine ignores there."""


def check(scope: Scope) -> None:
    service = scope.service
    mode = service.network_mode
    if mode.startswith(("service:", "container:")):
        instead = f"network_mode {mode!r}: set it on the container whose network is shared"
        for key in _given(service, _OWNERS):
            scope.refuse((key,), f"cannot be combined with {instead}")
        for key in _given(service, _UNUSED):
            scope.warn((key,), f"has no effect with {instead}")
    if mode in ("host", "none"):
        for key in _given(service, ("links", "external_links")):
            if mode == "host":
                scope.refuse((key,), f"cannot be combined with network_mode {mode!r}")
            else:
                scope.warn((key,), f"has no effect with network_mode {mode!r}")
        for key in _given(service, ("mac_address",)):
            scope.warn((key,), f"has no effect with network_mode {mode!r}")
        for key in _given(service, ("ports",)):
            scope.warn((key,), f"nothing is published with network_mode {mode!r}")
    if mode in DEFAULT_MODES:
        _check_default_links(scope)
    if service.uts == "host":
        for key in _given(service, ("hostname", "domainname")):
            scope.refuse((key,), "cannot be combined with uts: host, which uses the host's name")


def _check_default_links(scope: Scope) -> None:
    """Docker Engine's default network has no names but those of links, which lead to its own containers only."""
    services = scope.project.services
    for index, link in enumerate(scope.service.links):
        other = services.get(link.partition(":")[0])
        if other is not None and other.network_mode not in DEFAULT_MODES:
            mode = scope.service.network_mode
            scope.refuse(("links", index), f"{link!r} does not lead to a service with network_mode {mode!r}")


def _given(service: Service, keys: tuple[str, ...]) -> list[str]:
    return [key for key in keys if getattr(service, key)]
