"""configs.* (compose-spec, 08-configs.md)"""

from __future__ import annotations

from composer.model.element import Element, Pairs


class Config(Element):
    """Exactly one of `file` (an absolute path), `environment` (a variable's name), `content` and `external`."""

    name: str = ""
    file: str | None = None
    environment: str | None = None
    content: str | None = None
    external: bool = False
    labels: Pairs = {}
    driver: str = ""
    driver_opts: Pairs = {}
    template_driver: str = ""
