"""services.*.develop (compose-spec, develop.md)"""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from composer.model.element import Element, Words
from composer.model.hook import Hook


class Trigger(Element):
    """`path` is absolute; `action`: rebuild, sync, restart, sync+restart, sync+exec. `x-initialSync` is the older name of
    `initial_sync`; `by_older_name` says that the file has it."""

    path: str
    action: str
    target: str = ""
    ignore: Words = ()
    include: Words = ()
    initial_sync: bool = False
    by_older_name: bool = False
    exec: Hook | None = None

    @model_validator(mode="before")
    @classmethod
    def _older_name(cls, value: Any) -> Any:
        return (
            {"initial_sync": value["x-initialSync"], "by_older_name": True, **value}
            if isinstance(value, dict) and "x-initialSync" in value
            else value
        )


class Develop(Element):
    watch: tuple[Trigger, ...] = ()
