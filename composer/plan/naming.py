"""What a container is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from composer.plan.desired import DesiredService


def container_name(project: str, service: DesiredService, number: int, separator: str) -> str:
    """Of a service's container `number`: the service's `container_name`, or as Docker Compose makes it, `shop-web-1`."""
    return service.container_name or separator.join((project, service.name, str(number)))
