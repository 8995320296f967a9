"""volumes.* (compose-spec, 07-volumes.md)"""

from __future__ import annotations

from composer.model.element import Element, Pairs


class Volume(Element):
    """`name` is the name in the engine."""

    name: str = ""
    driver: str = ""
    driver_opts: Pairs = {}
    external: bool = False
    labels: Pairs = {}
