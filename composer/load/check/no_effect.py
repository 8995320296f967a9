"""Attributes that have no effect outside Swarm, with the warnings of Docker Compose 5.6."""

from __future__ import annotations

from composer.load.notice import NO_EFFECT, Notice
from composer.load.tree.nodes import origin_at, value_at

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from composer.load.tree.nodes import Path

BY_PRESENCE = {
    ("deploy", "endpoint_mode"): "deploy.endpoint_mode only applies to Swarm's routing mesh",
    ("deploy", "labels"): "deploy.labels are only applied to Swarm services",
    ("deploy", "mode"): "deploy.mode is only honored in Swarm mode",
    ("deploy", "placement"): "deploy.placement is only honored by the Swarm scheduler",
    ("deploy", "rollback_config"): "deploy.rollback_config only applies to rolling updates in Swarm mode",
    ("deploy", "update_config"): "deploy.update_config only applies to rolling updates in Swarm mode",
}
"""Key of a service → why it has no effect."""

OF_FILES = {
    ("configs", "labels"): "configs[].labels are only applied to Swarm config objects",
    ("secrets", "driver_opts"): "secrets[].driver_opts is only honored by Swarm secret drivers",
    ("secrets", "labels"): "secrets[].labels are only applied to Swarm secret objects",
}
"""The same for configs and secrets; the warning names each service that uses one."""


def effects(tree: Mapping[str, Any]) -> list[Notice]:
    """One line for each such attribute of the canonical tree, with its position; sorted by service and path."""
    found = []
    for name, service in sorted((tree.get("services") or {}).items()):
        for shown, path, reason in sorted(_of_service(tree, name, service)):
            origin = origin_at(tree, path)
            place = f" ({origin})" if origin else ""
            found.append(Notice(f'service "{name}": {shown}: {reason}{place}', NO_EFFECT, name))
    return found


def _of_service(tree: Mapping[str, Any], name: str, service: Any) -> Iterator[tuple[str, Path, str]]:
    """For each attribute: its path in the message, its path in the tree, and the reason."""
    for path, reason in BY_PRESENCE.items():
        if value_at(service, path):
            yield ".".join(path), ("services", name, *path), reason
    for index, port in enumerate(service.get("ports") or ()):
        if port.get("mode") == "host":
            shown = f"ports[{port.get('target')}/{port.get('protocol') or 'tcp'}].mode"
            reason = "ports[].mode: host is only honored by the Swarm routing mesh"
            yield shown, ("services", name, "ports", index, "mode"), reason
    for (kind, key), reason in OF_FILES.items():
        for source in {mount.get("source") for mount in service.get(kind) or ()}:
            if value_at(tree, (kind, source, key)):
                yield f"{kind}.{source}.{key}", (kind, source, key), reason
