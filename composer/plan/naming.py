"""Container names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from composer.plan.desired import DesiredService

NAME = r"[a-zA-Z0-9][a-zA-Z0-9_.-]+"
"""The pattern of container names, as in Docker Engine."""


def container_name(project: str, service: DesiredService, number: int, separator: str) -> str:
    """The name of a service's container `number`: `container_name`, or else as in Docker Compose, `shop-web-1`."""
    return service.container_name or separator.join((project, service.name, str(number)))
