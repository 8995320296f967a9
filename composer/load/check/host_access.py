"""What a fetched project requires of this machine: host folders, privileges, host namespaces. Running a fetched project
means trusting its images. Access to the host needs the user's consent as well.
"""

from __future__ import annotations

import os

from composer.load.tree.nodes import origin_at, value_at

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from composer.load.tree.nodes import Path

GIVEN = {
    "privileged": "is privileged",
    "cap_add": "adds capabilities",
    "devices": "uses devices of this machine",
    "device_cgroup_rules": "uses devices of this machine",
    "gpus": "uses GPUs of this machine",
    "security_opt": "weakens or replaces its security profiles",
    "use_api_socket": "controls all containers",
    "provider": "runs a program on this machine",
}
"""Keys of a container, and the access that each one grants."""
NAMESPACES = ("network_mode", "pid", "ipc", "uts", "cgroup", "userns_mode")


def wishes(tree: Mapping[str, Any], fetched: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """Service → one line for each access that a file below the folders `fetched` requires."""

    def is_fetched(path: str) -> bool:
        path = os.path.realpath(path)  # a link in a repository may lead anywhere
        return any(path == folder or path.startswith(folder + os.sep) for folder in fetched)

    found: dict[str, tuple[str, ...]] = {}
    for name, service in (tree.get("services") or {}).items() if fetched else ():
        lines = []
        for path, reason in _of_service(tree, name, service, is_fetched):
            origin = origin_at(tree, path)
            if origin is not None and is_fetched(origin.file):
                lines.append(f"service {name} {reason} ({origin})")
        if lines:
            found[name] = tuple(lines)
    return found


def _of_service(tree: Any, name: str, service: Any, is_fetched: Any) -> Iterator[tuple[Path, str]]:
    yield from _of_container(("services", name), service, is_fetched)
    for key in ("pre_start", "post_start", "pre_stop"):
        for index, hook in enumerate(service.get(key) or ()):
            yield from _of_container(("services", name, key, index), hook, is_fetched)
    context = value_at(service, ("build", "context"))
    if isinstance(context, str) and context.startswith("/") and not is_fetched(context):
        yield ("services", name, "build", "context"), f"builds from {context}"
    for mount in service.get("volumes") or ():
        place = ("volumes", mount.get("source"), "driver_opts")
        if mount.get("type") == "volume" and value_at(tree, (*place, "device")):
            yield place, f"mounts {value_at(tree, (*place, 'device'))}"
    for kind in ("configs", "secrets"):
        for mount in service.get(kind) or ():
            file = value_at(tree, (kind, mount.get("source"), "file"))
            if file and not is_fetched(file):
                yield (kind, mount.get("source"), "file"), f"reads {file}"


def _of_container(place: Path, container: Any, is_fetched: Any) -> Iterator[tuple[Path, str]]:
    for key, reason in GIVEN.items():
        if container.get(key):
            yield (*place, key), reason
    for key in NAMESPACES:
        value = str(container.get(key) or "")
        if value == "host" or value.startswith("container:"):
            yield (*place, key), f"joins the {key.removesuffix('_mode')} namespace of {value}"
    for index, mount in enumerate(container.get("volumes") or ()):
        if mount.get("type") == "bind" and not is_fetched(str(mount.get("source"))):
            yield (*place, "volumes", index), f"mounts {mount.get('source')}"
