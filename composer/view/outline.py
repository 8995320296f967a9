"""The outline and targets of a Dockerfile, in the format of BuildKit's subrequests frontend.outline and
frontend.targets."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.spec.outline import Outline, Parameter, Target, Targets


def outline(found: Outline) -> dict[str, object]:
    """`result.json` of frontend.outline."""
    lists = {"args": found.args, "secrets": found.secrets, "ssh": found.ssh}
    return _without_empty(
        {
            "name": found.name,
            "description": found.description,
            **{name: [_parameter(one) for one in some] for name, some in lists.items()},
            "sources": [_source(found.text)],
        }
    )


def targets(found: Targets) -> dict[str, object]:
    """`result.json` of frontend.targets."""
    return {"targets": [_target(one) for one in found.targets], "sources": [_source(found.text)]}


def _parameter(one: Parameter) -> dict[str, object]:
    fields = {"name": one.name, "description": one.description, "value": one.value, "required": one.required}
    return _without_empty({**fields, "location": _location(one.start, one.end)})


def _target(one: Target) -> dict[str, object]:
    return _without_empty(
        {
            "name": one.name,
            "default": one.default,
            "description": one.description,
            "base": one.base,
            "platform": one.platform,
            "location": _location(one.start, one.end),
        }
    )


def _location(start: int, end: int) -> dict[str, object]:
    return {"ranges": [{"start": {"line": start}, "end": {"line": end}}]}


def _source(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _without_empty(fields: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value}
