"""Where services take configs and secrets: services.*.configs, services.*.secrets, services.*.build.secrets"""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from composer.model.element import Element
from composer.model.quantities import Mode


class FileReference(Element):
    """`source` names the top-level config or secret; None for uid, gid, mode means the default."""

    source: str
    target: str = ""
    uid: str | None = None
    gid: str | None = None
    mode: Mode | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value
