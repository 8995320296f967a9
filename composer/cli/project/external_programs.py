"""Variables that external programs provide before containers are created: providers (`provider:`) and AI models
(`models:`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from composer.cli.project.context import Context
    from composer.plan.desired import Desired


def supplied(context: Context, desired: Desired, names: Iterable[str], *, provided: bool = True) -> Desired:
    """The project with the variables for these services. `provided`: also call providers. Raises CommandError."""
    names = list(names)
    if provided and any(service.provider is not None for service in desired.services.values()):
        from composer.cli.project.providers import provide

        desired = provide(context, desired, names)
    if any(desired.services[name].models for name in names):
        from composer.cli.project.models import serve

        desired = serve(context, desired, names)
    return desired
