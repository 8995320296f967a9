"""The container's process: command, environment, user, host name, stop signal and timeout."""

from __future__ import annotations

from typing import Any

from composer.plan.translate.scope import Scope
from engine.spec.container import Ulimit


def process(scope: Scope) -> dict[str, Any]:
    service = scope.service
    if service.working_dir and not service.working_dir.startswith("/"):
        scope.refuse(("working_dir",), f"{service.working_dir!r} is not an absolute path")
    return {
        "command": service.command or None,  # empty means the image's, as in Docker Engine
        "entrypoint": service.entrypoint,
        "environment": dict(service.environment),
        "working_dir": service.working_dir,
        "user": service.user,
        "group_add": service.group_add,
        "tty": service.tty,
        "stdin_open": service.stdin_open,
        "init": service.init,
        "stop_signal": service.stop_signal,
        "stop_timeout": service.stop_grace_period,
        "oom_score_adj": service.oom_score_adj,
        "ulimits": ulimits(service.ulimits),
        "hostname": service.hostname,
        "domainname": service.domainname,
        "extra_hosts": extra_hosts(service.extra_hosts),
        "dns": service.dns,
        "dns_search": service.dns_search,
        "dns_opt": service.dns_opt,
        "annotations": dict(service.annotations),
    }


def ulimits(given: Any) -> tuple[Ulimit, ...]:
    return tuple(Ulimit(name=name, soft=limit.soft, hard=limit.hard) for name, limit in sorted(given.items()))


def extra_hosts(given: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Parse "host=address", or the older "host:address". An IPv6 address may be in brackets."""
    found = []
    for entry in given:
        separator = "=" if "=" in entry else ":"
        host, _, address = entry.partition(separator)
        found.append((host, address.removeprefix("[").removesuffix("]")))
    return tuple(found)
