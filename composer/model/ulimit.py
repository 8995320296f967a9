"""services.*.ulimits"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from composer.model.element import Element


class Ulimit(Element):
    """-1 means unlimited. A limit that the canonical form omits is 0."""

    soft: int = 0
    hard: int = 0


def _ulimits(value: Any) -> Any:
    """One number sets both limits."""
    if isinstance(value, dict):
        return {
            key: inner if isinstance(inner, dict) else {"soft": inner, "hard": inner} for key, inner in value.items()
        }
    return value


Ulimits = Annotated[dict[str, Ulimit], BeforeValidator(_ulimits)]
