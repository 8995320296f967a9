"""services.*.post_start, pre_stop, pre_start, develop.watch.exec"""

from __future__ import annotations

from composer.model.container import Container
from composer.model.element import Element, Variables


class Hook(Element):
    """A command in a running container."""

    command: tuple[str, ...] | None = None
    user: str = ""
    privileged: bool = False
    working_dir: str = ""
    environment: Variables = {}


class PreStartHook(Container):
    """A command in a separate container before the service starts; missing keys are taken from the service."""

    per_replica: bool = False
