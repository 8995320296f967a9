"""models.* (compose-spec, models.md): AI models that an outside runner serves, or a server at `x-endpoint`"""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from composer.model.element import Element, Words


class LanguageModel(Element):
    """`endpoint` is the address of a server of the user's own, such as a service of the project; "" for the runner."""

    name: str = ""
    model: str
    context_size: int = 0
    runtime_flags: Words = ()
    endpoint: str = ""

    @model_validator(mode="before")
    @classmethod
    def _own_server(cls, value: Any) -> Any:
        return (
            {**value, "endpoint": value["x-endpoint"]} if isinstance(value, dict) and "x-endpoint" in value else value
        )
