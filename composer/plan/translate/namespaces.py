"""The namespaces that a container shares. `service:<name>` is resolved later, when the containers are known."""

from __future__ import annotations

from typing import Any

from composer.plan.translate.scope import Scope

_ALLOWED = {
    "network_mode": ("bridge", "default", "host", "none", "disabled"),
    "pid": ("host",),
    "ipc": ("host", "none", "private", "shareable"),
    "uts": ("host",),
    "cgroup": ("host", "private"),
    "userns_mode": ("host", "private"),
}


def namespaces(scope: Scope) -> dict[str, Any]:
    service = scope.service
    predefined = predefined_network(scope)
    modes = {
        "network_mode": service.network_mode,
        "pid": service.pid or "",
        "ipc": service.ipc,
        "uts": service.uts,
        "cgroup": service.cgroup,
        "userns_mode": service.userns_mode,
    }
    for key, mode in modes.items():
        _check(scope, key, mode)
    network = predefined or {"default": "bridge", "disabled": "none"}.get(service.network_mode, service.network_mode)
    return {
        "network_mode": "" if is_network(network) else network,
        "pid_mode": modes["pid"],
        "ipc_mode": modes["ipc"],
        "uts_mode": modes["uts"],
        "cgroup_mode": modes["cgroup"],
        "userns_mode": modes["userns_mode"],
        "cgroup_parent": service.cgroup_parent,
    }


def is_network(mode: str) -> bool:
    """Whether a network_mode names an existing network, or the default network (`bridge`, `default`), which is created
    when needed."""
    other = {"host", "none", "disabled"}
    return bool(mode) and mode not in other and not mode.startswith(("service:", "container:"))


def predefined_network(scope: Scope) -> str:
    """ "host" or "none" if that is the service's only network: an external network can have these names, too."""
    networks = scope.project.networks
    names = {networks[key].name or key for key in scope.service.networks if key in networks and networks[key].external}
    found = names & {"host", "none"}
    if found and len(scope.service.networks) > 1:
        scope.refuse(("networks",), f"{min(found)!r} cannot be combined with other networks")
    return min(found, default="")


def _check(scope: Scope, key: str, mode: str) -> None:
    if not mode or mode in _ALLOWED[key]:
        return
    kind, colon, name = mode.partition(":")
    if key in ("network_mode", "pid", "ipc") and kind in ("service", "container") and name:
        if kind == "service" and name not in scope.project.services:
            scope.refuse((key,), f"{mode!r}: no enabled service {name}")
        elif kind == "service" and name == scope.name:
            scope.refuse((key,), f"{mode!r} is the service itself")
        return
    if key == "network_mode" and not colon:
        return
    known = ", ".join(_ALLOWED[key]) + (
        ", service:NAME, container:NAME" if key in ("network_mode", "pid", "ipc") else ""
    )
    scope.refuse((key,), f"{mode!r} is not supported; supported: {known}")
