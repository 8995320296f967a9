"""Make implied settings explicit: the default network, names, dependencies that other keys imply."""

from __future__ import annotations

from composer.load.errors import LoadError
from composer.load.resolve.canonical import clean
from composer.load.tree.nodes import Map, origin_of

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from composer.load.tree.nodes import Origin


def normalised(root: Map, name: str, environment: Mapping[str, str]) -> None:
    """Normalise a tree in place. `name` is the project's. Variables without a value take it from `environment`."""
    root["name"] = name
    workloads = [*(root.get("services") or {}).values(), *(root.get("jobs") or {}).values()]
    _networks(root, workloads)
    for service in workloads:
        if service.get("pull_policy") == "if_not_present":
            service["pull_policy"] = "missing"
        _build(service, environment)
        if "environment" in service:
            service["environment"] = _resolved(service["environment"], environment, keep=True)
        _hook_images(service)
        _dependencies(service)
        for volume in service.get("volumes") or ():
            if isinstance(volume, dict) and isinstance(volume.get("target"), str):
                volume["target"] = clean(volume["target"])
    _names(root, name)


def _networks(root: Map, workloads: list[Any]) -> None:
    """Connect services without a network to the default network, and declare it if a service uses it."""
    used = False
    for service in workloads:
        if "provider" in service or "network_mode" in service:
            continue
        if not service.get("networks"):
            service["networks"] = Map({"default": None})
            used = True
        elif "default" in service["networks"]:
            used = True
    if used:
        networks = root.get("networks")
        if networks is None:
            networks = root["networks"] = Map()
        networks.setdefault("default", None)


def _build(service: Map, environment: Mapping[str, str]) -> None:
    build = service.get("build")
    if build is None:
        return
    if build.get("context") is None:
        build["context"] = "."
    if build.get("dockerfile") is None and build.get("dockerfile_inline") is None:
        build["dockerfile"] = "Dockerfile"
    if "args" in build:
        build["args"] = _resolved(build["args"], environment, keep=False)


def _hook_images(service: Map) -> None:
    """Give pre_start hooks without an image the service's image."""
    for hook in service.get("pre_start") or ():
        if isinstance(hook, dict) and not hook.get("image") and service.get("image"):
            hook["image"] = service["image"]


def _resolved(value: Any, environment: Mapping[str, str], *, keep: bool) -> Any:
    """The variables, with values from the environment for those without one. Variables that it lacks too are dropped,
    unless `keep`."""
    if isinstance(value, dict):
        for key in [key for key, entry in value.items() if entry is None]:
            if key in environment:
                value[key] = environment[key]
            elif not keep:
                del value[key]
    elif isinstance(value, list):
        for index in range(len(value) - 1, -1, -1):
            item = value[index]
            if not isinstance(item, str) or "=" in item:
                continue
            if item in environment:
                value[index] = f"{item}={environment[item]}"
            elif not keep:
                del value[index]
                del value.origins[index]  # type: ignore[attr-defined]
    return value


def environment_lists(root: Map, environment: Mapping[str, str]) -> None:
    """Give variables in lists (`- NAME`) their values from the environment of their own file."""
    sections = [root.get(section) for section in ("services", "jobs")]
    for service in (one for section in sections if isinstance(section, dict) for one in section.values()):
        variables = service.get("environment") if isinstance(service, dict) else None
        if isinstance(variables, list):
            for index, item in enumerate(variables):
                if isinstance(item, str) and item in environment:
                    variables[index] = f"{item}={environment[item]}"


def own_contents(root: Map, environment: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """("secrets" or "configs", name) → content, for those that take it from the environment of their own file."""
    return {
        (kind, name): environment[variable]
        for kind in ("secrets", "configs")
        for name, entry in (root.get(kind) or {}).items()
        if isinstance(entry, dict) and isinstance(variable := entry.get("environment"), str) and variable in environment
    }


_NAMESPACES = ("network_mode", "ipc", "pid", "uts", "cgroup")


def _dependencies(service: Map) -> None:
    """Add the dependencies that links, shared namespaces and volumes_from imply."""
    implied: dict[str, tuple[bool, Origin | None]] = {}
    links = service.get("links") or ()
    for index, link in enumerate(links):
        parts = str(link).split(":")
        implied.setdefault(parts[0] if len(parts) == 2 else link, (True, origin_of(links, index)))
    for namespace in _NAMESPACES:
        reference = service.get(namespace)
        if isinstance(reference, str) and reference.startswith("service:"):
            implied.setdefault(reference[len("service:") :], (True, service.origins.get(namespace)))
    sources = service.get("volumes_from") or ()
    for index, source in enumerate(sources):
        if isinstance(source, str) and not source.startswith("container:"):
            implied.setdefault(source.partition(":")[0], (False, origin_of(sources, index)))
    if not implied:
        return
    depends_on = service.get("depends_on")
    if depends_on is None:
        depends_on = service["depends_on"] = Map()
    for name, (restart, origin) in implied.items():
        if name not in depends_on:
            entry = Map({"condition": "service_started", "restart": restart, "required": True})
            depends_on.place(name, entry, origin)


def _names(root: Map, name: str) -> None:
    """Name resources without a name: by their key, with the project's name in front if the project owns them."""
    for kind in ("networks", "volumes", "configs", "secrets"):
        resources = root.get(kind)
        if not isinstance(resources, dict):
            continue
        for key, resource in resources.items():
            if resource is None:
                resource = resources[key] = Map()
            if not isinstance(resource, dict):  # the schema does not check below names that it does not allow
                raise LoadError(f"{kind}.{key} must be a mapping", origin_of(resources, key))
            if resource.get("name") is None:
                resource["name"] = key if _true(resource.get("external")) else f"{name}_{key}"


def _true(value: Any) -> bool:
    return value is True or value in ("1", "t", "T", "TRUE", "true", "True")
