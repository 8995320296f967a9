"""services.*.develop (compose-spec, develop.md)"""

from __future__ import annotations

from composer.model.element import Element, Words
from composer.model.hook import Hook


class Trigger(Element):
    """`path` is absolute; `action`: rebuild, sync, restart, sync+restart, sync+exec."""

    path: str
    action: str
    target: str = ""
    ignore: Words = ()
    include: Words = ()
    initial_sync: bool = False
    exec: Hook | None = None


class Develop(Element):
    watch: tuple[Trigger, ...] = ()
