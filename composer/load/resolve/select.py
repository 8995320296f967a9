"""Select services: by profile and by name, with their dependencies."""

from __future__ import annotations

from fnmatch import fnmatchcase

from composer.load.errors import LoadError, did_you_mean
from composer.load.tree.nodes import Map

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def enabled(service: Any, profiles: Iterable[str]) -> bool:
    """Whether a service has no profile or one of these; "*" is every profile."""
    own = service.get("profiles")
    return not own or any(profile == "*" or profile in own for profile in profiles)


def by_profile(enabled_ones: Map, disabled: Map, profiles: Iterable[str]) -> None:
    """Sort services (or jobs) into enabled and disabled ones by their profiles."""
    everything = {**enabled_ones, **disabled}
    origins = {**enabled_ones.origins, **disabled.origins}
    wanted = tuple(profiles)
    for target, keep in ((enabled_ones, True), (disabled, False)):
        target.clear()
        for name in sorted(everything):
            if enabled(everything[name], wanted) is keep:
                target.place(name, everything[name], origins.get(name))


def activated(names: Iterable[str], services: Map, disabled: Map, profiles: tuple[str, ...]) -> tuple[str, ...]:
    """The active profiles, plus those of named services that no active profile enables."""
    found = list(profiles)
    for name in names:
        if name not in services and name in disabled:
            found += disabled[name].get("profiles", ())
    return tuple(dict.fromkeys(found))


def named(tree: Map, disabled: Map, names: tuple[str, ...]) -> None:
    """Keep the services that match the names, and their dependencies; disable the others."""
    services = tree["services"]
    chosen: set[str] = set()
    waiting: list[tuple[str, bool]] = [(name, True) for name in names]
    while waiting:
        pattern, required = waiting.pop()
        found = [name for name in services if name == pattern or fnmatchcase(name, pattern)]
        if not found and required:
            raise LoadError(f"no such service: {pattern}", None, did_you_mean(pattern, services))
        for name in found:
            if name not in chosen:
                chosen.add(name)
                depends_on = services[name].get("depends_on", {})
                waiting += [(other, bool(entry["required"])) for other, entry in depends_on.items()]
    for name in [name for name in services if name not in chosen]:
        disabled.place(name, services.pop(name), services.origins.get(name))
    for service in services.values():
        depends_on = service.get("depends_on", {})
        for other in [other for other in depends_on if other not in chosen]:
            del depends_on[other]
        if "depends_on" in service and not depends_on:
            del service["depends_on"]


def needed(tree: Map) -> None:
    """Drop the networks, volumes, secrets, configs and models that no service uses."""
    used: dict[str, set[str]] = {
        "networks": set(),
        "volumes": set(),
        "secrets": set(),
        "configs": set(),
        "models": set(),
    }
    for service in (*tree["services"].values(), *tree.get("jobs", {}).values()):
        _use(service, used)
        for hook in service.get("pre_start", ()):
            _use(hook, used)
    for kind, names in used.items():
        resources = tree.get(kind)
        if resources is None:
            continue
        for name in [name for name in resources if name not in names]:
            del resources[name]
        if not resources:
            del tree[kind]


def _use(service: Map, used: dict[str, set[str]]) -> None:
    """Record the resources that a service, a job or a hook uses."""
    used["networks"].update(service.get("networks", ()))
    used["models"].update(service.get("models", ()))
    used["volumes"].update(
        volume["source"]
        for volume in service.get("volumes", ())
        if volume.get("type") == "volume" and volume.get("source")
    )
    used["configs"].update(mount.get("source") for mount in service.get("configs", ()))
    used["secrets"].update(mount.get("source") for mount in service.get("secrets", ()))
    used["secrets"].update(mount.get("source") for mount in service.get("build", {}).get("secrets", ()))
