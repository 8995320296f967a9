"""The dependencies of a service: depends_on, and those that other keys imply."""

from __future__ import annotations

from composer.plan.desired import COMPLETED, HEALTHY, STARTED, Dependency
from composer.plan.translate.scope import Scope

_CONDITIONS = (STARTED, HEALTHY, COMPLETED)


def dependencies(scope: Scope) -> tuple[Dependency, ...]:
    """The dependencies by name. Disabled services are allowed only as optional dependencies, and are dropped."""
    found: dict[str, Dependency] = {}
    for name, wanted in scope.service.depends_on.items():
        path = ("depends_on", name)
        if wanted.condition not in _CONDITIONS:
            scope.refuse((*path, "condition"), f"{wanted.condition!r} is not one of {', '.join(_CONDITIONS)}")
        if name in scope.project.services or name in scope.project.jobs:
            found[name] = Dependency(
                service=name, condition=wanted.condition, restart=wanted.restart, required=wanted.required
            )
        elif wanted.required:
            state = (
                "is not enabled by any active profile" if name in scope.project.disabled else "is not in the project"
            )
            scope.refuse(path, f"the service {name} {state}")
    for name in implied(scope):
        if name in scope.project.services:
            found.setdefault(name, Dependency(service=name, restart=True))
    return tuple(found[name] for name in sorted(found))


def implied(scope: Scope) -> list[str]:
    """Services that this one refers to by namespace mode, volumes_from or links."""
    service = scope.service
    modes = (service.network_mode, service.pid or "", service.ipc, service.uts, service.cgroup)
    names = [mode.removeprefix("service:") for mode in modes if mode.startswith("service:")]
    names += [link.partition(":")[0] for link in service.links]
    names += [one.partition(":")[0] for one in service.volumes_from if not one.startswith("container:")]
    return list(dict.fromkeys(names))


def volumes_from(scope: Scope) -> tuple[str, ...]:
    """ "service:NAME[:MODE]" and "container:NAME[:MODE]"."""
    found = []
    for index, text in enumerate(scope.service.volumes_from):
        kind, _, rest = text.partition(":") if text.startswith("container:") else ("service", "", text)
        name, _, mode = rest.partition(":")
        if kind == "service" and name not in scope.project.services:
            scope.refuse(("volumes_from", index), f"no enabled service {name}")
        if mode not in ("", "ro", "rw"):
            scope.refuse(("volumes_from", index), f"the mode {mode!r} is not one of ro, rw")
        found.append(f"{kind}:{rest}")
    return tuple(found)
