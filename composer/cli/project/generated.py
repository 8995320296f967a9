"""Generate a compose file from existing containers (`alpha generate`), without settings that come from the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from composer.load.tree.nodes import Fields, Map, Sequence
from composer.plan.labels import SERVICE
from composer.view import lookup

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from engine.spec.container import ContainerSpec, Healthcheck


def tree(context: Context, names: list[str], project: str) -> Any:
    """The project of these containers, in canonical form; replicas of a service count as its scale. Raises Refusal for
    a container that does not exist."""
    services: dict[str, Any] = {}
    networks: dict[str, Any] = {}
    volumes: dict[str, Any] = {}
    for name in names:
        spec = lookup.container(context.engine, name).spec
        key = spec.labels.get(SERVICE) or spec.name
        if key in services:
            services[key]["scale"] = services[key].get("scale", 1) + 1
            continue
        services[key] = _service(spec)
        networks |= {attachment.network: Fields() for attachment in spec.networks}
        volumes |= {mount.source: Fields() for mount in spec.mounts if mount.type == "volume" and mount.source}
    whole = {"name": project} if project else {}
    sections = {"services": services, "networks": networks, "volumes": volumes}
    return Fields(whole | {section: Map(entries) for section, entries in sections.items() if entries})


def _service(spec: ContainerSpec) -> Fields:
    labels = {
        key: value for key, value in spec.labels.items() if not key.startswith(("com.docker.compose.", "composer."))
    }
    parts: dict[str, Any] = {
        "command": Sequence(list(spec.command)) if spec.command is not None else None,
        "entrypoint": Sequence(list(spec.entrypoint)) if spec.entrypoint is not None else None,
        "environment": Map({key: value for key, value in spec.environment.items() if value is not None}),
        "healthcheck": _healthcheck(spec.healthcheck) if spec.healthcheck is not None else None,
        "image": spec.image_ref or spec.image,
        "labels": Map(labels),
        "networks": Map({one.network: _attachment(one.aliases) for one in spec.networks}),
        "ports": Sequence(
            [
                Fields(
                    {
                        "mode": "ingress",
                        **({"host_ip": port.host_ip} if port.host_ip else {}),
                        "target": port.container_port,
                    }
                    | ({"published": str(port.host_port)} if port.host_port else {})
                    | {"protocol": port.protocol}
                )
                for port in spec.ports
            ]
        ),
        "user": spec.user,
        "volumes": Sequence(
            [
                Fields(
                    {"type": mount.type, **({"source": mount.source} if mount.source else {}), "target": mount.target}
                    | ({"read_only": True} if mount.read_only else {})
                )
                for mount in spec.mounts
                if mount.type in ("bind", "volume", "tmpfs")
            ]
        ),
        "working_dir": spec.working_dir,
    }
    return Fields({key: value for key, value in parts.items() if value not in (None, "", {}, [])})


def _attachment(aliases: Any) -> Fields | None:
    return Fields({"aliases": Sequence(list(aliases))}) if aliases else None


def _healthcheck(check: Healthcheck) -> Fields:
    parts: dict[str, Any] = {"test": Sequence(list(check.test or ()))}
    for key in ("interval", "timeout", "start_period", "start_interval"):
        if seconds := getattr(check, key):
            parts[key] = f"{seconds:g}s"
    if check.retries:
        parts["retries"] = check.retries
    return Fields(parts)
