"""The common parts of all elements of the model."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator


class Element(BaseModel):
    """A mapping of the specification with known keys. Keys that begin with `x-` are extensions and are dropped; a key
    without a value counts as absent."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        coerce_numbers_to_str=True,
        populate_by_name=True,
        defer_build=True,  # the project's schema contains those of the others: building each separately takes 15 ms more
    )

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: v for k, v in value.items() if v is not None and not (isinstance(k, str) and k.startswith("x-"))}


def _text(value: Any) -> Any:
    """Booleans as YAML writes them, like Go when it prints values of string mappings."""
    return str(value).lower() if isinstance(value, bool) else value


def _texts(value: Any) -> Any:
    """`["a=b", "c"]` → {"a": "b", "c": None}; numbers and booleans as text."""
    if isinstance(value, list):
        return {
            str(pair).partition("=")[0]: str(pair).partition("=")[2] if "=" in str(pair) else None for pair in value
        }
    if isinstance(value, dict):
        return {key: _text(inner) for key, inner in value.items()}
    return value


def _filled(value: Any) -> Any:
    """A missing value of a label or an option is the empty text."""
    pairs = _texts(value)
    return {key: "" if inner is None else inner for key, inner in pairs.items()} if isinstance(pairs, dict) else pairs


def _sequence(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Variables = Annotated[dict[str, str | None], BeforeValidator(_texts)]
"""Names with values; None takes the value from the environment, if it has one."""

Pairs = Annotated[dict[str, str], BeforeValidator(_filled)]
"""Names with values that are never missing: labels, options."""

Words = Annotated[tuple[str, ...], BeforeValidator(_sequence)]
"""One text, or several."""
