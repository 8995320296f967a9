"""Tags of log drivers: a subset of Go's templates with Docker's fields.

`{{.Name}}/{{.ID}}`, `{{.ImageName | upper}}`, `{{index .ContainerLabels "app"}}`, `{{(.ExtraAttributes nil).REGION}}`
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

from msgspec import Struct


class Info(Struct, frozen=True):
    """The fields of a container for tags."""

    id: str
    name: str
    image_id: str
    image_name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    labels: Mapping[str, str]
    attrs: Mapping[str, str] = {}


NOBODY = Info("0" * 64, "name", f"sha256:{'0' * 64}", "image", ("command",), {}, {})
"""For checking templates."""

Value = str | list[str] | Mapping[str, str]

_FIELDS: dict[str, Callable[[Info], Value]] = {
    "ID": lambda info: info.id[:12],
    "FullID": lambda info: info.id,
    "Name": lambda info: info.name,
    "ImageID": lambda info: info.image_id.removeprefix("sha256:")[:12],
    "ImageFullID": lambda info: info.image_id,
    "ImageName": lambda info: info.image_name,
    "Command": lambda info: " ".join(info.command),
    "DaemonName": lambda info: "composer",
    "Hostname": lambda info: os.uname().nodename,
    "ContainerID": lambda info: info.id,
    "ContainerName": lambda info: f"/{info.name}",
    "ContainerImageID": lambda info: info.image_id,
    "ContainerImageName": lambda info: info.image_name,
    "ContainerLabels": lambda info: info.labels,
    "ExtraAttributes": lambda info: info.attrs,
}

_FUNCTIONS: dict[str, Callable[[Value], Value]] = {
    "json": lambda value: _json(value),
    "lower": lambda value: str(value).lower(),
    "upper": lambda value: str(value).upper(),
    "title": lambda value: str(value).title(),
    "println": lambda value: f"{value}\n",
    "print": lambda value: str(value),
}

_ACTION = r"(?s)\{\{-?\s*(.*?)\s*-?\}\}"
_FIELD = r"\.(\w+)"
_INDEX = r'index\s+\.(\w+)\s+"([^"]*)"'
_ATTRIBUTE = r"\(\s*\.ExtraAttributes\s+nil\s*\)\.(\w+)"


def expand(template: str, info: Info) -> str:
    """Raises ValueError for an invalid or unsupported template."""
    rest = re.sub(_ACTION, "", template)
    if "{{" in rest:
        raise ValueError(f"unclosed action in {template!r}")
    return re.sub(_ACTION, lambda match: _evaluate(match[1], info), template)


def _evaluate(action: str, info: Info) -> str:
    first, *calls = (part.strip() for part in action.split("|"))
    word, _, argument = first.partition(" ")
    if word in _FUNCTIONS and argument:
        first, calls = argument.strip(), [word, *calls]
    value = _operand(first, info)
    for call in calls:
        if call not in _FUNCTIONS:
            raise ValueError(f'function "{call}" is not defined; known: {", ".join(_FUNCTIONS)}')
        value = _FUNCTIONS[call](value)
    return value if isinstance(value, str) else _json(value)


def _json(value: Value) -> str:
    import json

    return json.dumps(value)


def _operand(text: str, info: Info) -> Value:
    if match := re.fullmatch(_FIELD, text):
        return _field(match[1], info)
    if match := re.fullmatch(_INDEX, text):
        table = _field(match[1], info)
        return table.get(match[2], "") if isinstance(table, Mapping) else ""
    if match := re.fullmatch(_ATTRIBUTE, text):
        return info.attrs.get(match[1], "<no value>")
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1]
    raise ValueError(f"cannot evaluate {text!r}; fields: {', '.join(f'.{name}' for name in _FIELDS)}")


def _field(name: str, info: Info) -> Value:
    if name not in _FIELDS:
        raise ValueError(f"can't evaluate field {name}; known: {', '.join(_FIELDS)}")
    return _FIELDS[name](info)
