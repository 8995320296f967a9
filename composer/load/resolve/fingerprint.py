"""A service's configuration hash: the value that `docker compose config --hash` prints and `up` puts in a container
label.

It is the SHA-256 of the service in the JSON of Compose 5: keys in the specification's order, without keys whose change
does not require a new container.
"""

from __future__ import annotations

from composer.load.keys import SERVICE
from composer.load.tree.nodes import Fields
from composer.load.tree.text import marshalled
from engine.digest import hexadecimal

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from composer.load.tree.nodes import Map

LEFT_OUT = frozenset(("build", "pull_policy", "scale", "depends_on", "profiles"))
"""Keys of a service that are not hashed. Env files are hashed by content, as part of `environment`, or by path with
--no-env-resolution."""


def service_hash(service: Map, default_platform: str = "", label_files: Sequence[str] = ()) -> str:
    """The hash of a canonical service, 64 hex digits.

    `default_platform` is DOCKER_DEFAULT_PLATFORM. It is hashed for services that are built and name no platform. The paths
    of `label_files` are hashed although their content is already in `labels`.
    """
    kept = Fields({key: value for key, value in service.items() if key not in LEFT_OUT})
    if label_files:
        kept["label_file"] = list(label_files)
        SERVICE.arrange(kept)
    if "env_file" in kept:
        kept["env_file"] = [file["path"] if file.get("required", True) else file for file in kept["env_file"]]
    if "deploy" in kept:
        kept["deploy"] = Fields({key: value for key, value in kept["deploy"].items() if key != "replicas"})
    if default_platform and "build" in service and not service.get("platform"):
        kept["platform"] = default_platform
        SERVICE.arrange(kept)
    return hexadecimal(marshalled(as_json(kept)).encode())


def as_json(value: Any) -> Any:
    """A canonical tree as in Compose's JSON: names sorted, without x-… keys in mappings with known keys."""
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, Fields):
        return {key: as_json(inner) for key, inner in value.items() if not key.startswith("x-")}
    if isinstance(value, dict):
        return {key: as_json(value[key]) for key in sorted(value)}
    return value
