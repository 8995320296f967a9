"""services.*.healthcheck"""

from __future__ import annotations

from composer.model.element import Element
from composer.model.quantities import Duration


class Healthcheck(Element):
    """`test`: [], [NONE], [CMD, argv…] or [CMD-SHELL, text]; None takes the image's. Durations in seconds."""

    disable: bool = False
    test: tuple[str, ...] | None = None
    interval: Duration | None = None
    timeout: Duration | None = None
    retries: int | None = None
    start_period: Duration | None = None
    start_interval: Duration | None = None
