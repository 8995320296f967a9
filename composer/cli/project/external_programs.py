"""Variables that external programs provide before containers are created: providers (`provider:`) and AI models
(`models:`)."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from composer.cli.project.context import Context
    from composer.plan.desired import Desired


def to_build(context: Context, desired: Desired, names: Iterable[str], *, build: bool) -> list[str]:
    """The provided services whose image the command is about to build."""
    wanted = [desired.services[name] for name in names if desired.services[name].provider is not None]
    return [
        one.name
        for one in wanted
        if one.build is not None and (build or context.engine.image(one.wanted_image) is None)
    ]


def pull_provided(context: Context, services: Sequence[str], *, dependencies: bool, policy: str) -> None:
    """Let the providers of these services get their images. Raises CommandError."""
    desired = context.desired
    names = desired.selected(services, dependencies=dependencies)
    for service in [desired.services[name] for name in names if desired.services[name].provider is not None]:
        from composer.cli.project.providers import pull

        pull(context, service, policy or "always")


def supplied(
    context: Context, desired: Desired, names: Iterable[str], *, provided: bool = True, built: Iterable[str] = (),
    scale: Mapping[str, int] = MappingProxyType({}),
) -> Desired:  # fmt: skip
    """The project with the variables for these services. `provided`: also call providers; those whose image was built get
    it, and each gets the `scale` that the command gives. Raises CommandError."""
    names = list(names)
    if any(service.provider is not None for service in desired.services.values()):
        from composer.cli.project.providers import provide
        from composer.cli.project.relay import with_existing_relays

        desired = with_existing_relays(context, desired, called=names if provided else ())
        desired = provide(context, desired, names, built=built, scale=scale) if provided else desired
    if any(one.api_socket for one in desired.every()):
        from composer.cli.project.api_socket import with_socket

        desired = with_socket(context, desired, names)
    if any(desired.services[name].models for name in names):
        from composer.cli.project.models import serve

        desired = serve(context, desired, names)
    return desired
