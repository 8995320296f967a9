"""A service's configuration hash: the value that `docker compose config --hash` prints and puts on a container's label.

It is the SHA-256 of the service as Compose 5 marshals it to JSON: keys in the specification's order, without those that can
change while the container stays.
"""

from __future__ import annotations

from composer.load.keys import SERVICE
from composer.load.tree.nodes import Fields
from composer.load.tree.text import marshalled
from engine.digest import hexadecimal

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from typing import Any

    from composer.load.tree.nodes import Map

LEFT_OUT = frozenset(("build", "pull_policy", "scale", "depends_on", "profiles", "label_file"))
"""Keys of a service that do not count; what label files hold does, as part of `labels`. Of env files the contents count, as
part of `environment`, or their paths where they are not read (--no-env-resolution)."""


def service_hash(service: Map, default_platform: str = "") -> str:
    """64 hex digits for a canonical service.

    `default_platform` is DOCKER_DEFAULT_PLATFORM: it counts for services that are built and name no platform.
    """
    kept = Fields({key: value for key, value in service.items() if key not in LEFT_OUT})
    if "env_file" in kept:
        kept["env_file"] = [file["path"] if file.get("required", True) else file for file in kept["env_file"]]
    if "deploy" in kept:
        kept["deploy"] = Fields({key: value for key, value in kept["deploy"].items() if key != "replicas"})
    if default_platform and "build" in service and not service.get("platform"):
        kept["platform"] = default_platform
        SERVICE.arrange(kept)
    return hexadecimal(marshalled(as_json(kept)).encode())


def as_json(value: Any) -> Any:
    """A canonical tree as Compose has it in JSON: names sorted, without the user's x-… keys below mappings of known keys."""
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, Fields):
        return {key: as_json(inner) for key, inner in value.items() if not key.startswith("x-")}
    if isinstance(value, dict):
        return {key: as_json(value[key]) for key in sorted(value)}
    return value
