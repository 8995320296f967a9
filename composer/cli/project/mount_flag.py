"""`--mount type=bind,source=…,target=…,…` of docker run, as the Docker API takes it (Docker Engine API 1.55, Mount)."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from typing import Any

from composer.cli.errors import InvalidArgument, UsageError
from engine import quantities

_NAMES = {
    "type": "Type", "source": "Source", "src": "Source", "target": "Target", "dst": "Target", "destination": "Target",
    "consistency": "Consistency",
}  # fmt: skip
_BOOLEANS = {"readonly": "ReadOnly", "ro": "ReadOnly"}
TRUE, FALSE = ("", "true", "1", "t", "True", "TRUE"), ("false", "0", "f", "False", "FALSE")


def mount(text: str) -> dict[str, Any]:
    """The mount. Raises UsageError for an unknown key or an invalid value."""
    found: dict[str, Any] = {"Type": "volume"}
    for field in next(csv.reader([text]), []):
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if key in _NAMES and equals:
            found[_NAMES[key]] = value
        elif key in _BOOLEANS:
            found["ReadOnly"] = _boolean(field, value)
        else:
            _option(found, field, key, value)
    if found["Type"] == "bind" and "Source" in found:
        found["Source"] = os.path.abspath(os.path.expanduser(found["Source"]))
    if "Target" not in found:
        raise InvalidArgument(text, "--mount", "target is required")
    return found


def _boolean(field: str, value: str) -> bool:
    if value not in (*TRUE, *FALSE):
        raise UsageError(f"invalid value for {field}")
    return value in TRUE


def _option(found: dict[str, Any], field: str, key: str, value: str) -> None:
    """A key that belongs to one type of mount."""
    bind, volume = found.get("BindOptions", {}), found.get("VolumeOptions", {})
    tmpfs, image = found.get("TmpfsOptions", {}), found.get("ImageOptions", {})
    if key == "bind-propagation":
        bind["Propagation"] = value
    elif key == "bind-create-src":
        bind["CreateMountpoint"] = _boolean(field, value)
    elif key == "bind-recursive" and value in ("enabled", "disabled", "writable", "readonly"):
        bind |= {
            "NonRecursive": value == "disabled",
            "ReadOnlyNonRecursive": value == "writable",
            "ReadOnlyForceRecursive": value == "readonly",
        }
    elif key == "bind-nonrecursive":
        bind["NonRecursive"] = _boolean(field, value)
    elif key == "volume-nocopy":
        volume["NoCopy"] = _boolean(field, value)
    elif key == "volume-subpath":
        volume["Subpath"] = value
    elif key == "image-subpath":
        image["Subpath"] = value
    elif key == "volume-label":
        volume.setdefault("Labels", {}).update([value.partition("=")[::2]])
    elif key == "volume-driver":
        volume.setdefault("DriverConfig", {})["Name"] = value
    elif key == "volume-opt":
        config = volume.setdefault("DriverConfig", {})
        config.setdefault("Options", {}).update([value.partition("=")[::2]])
    elif key == "tmpfs-size":
        tmpfs["SizeBytes"] = _number(key, value, quantities.size)
    elif key == "tmpfs-mode":
        tmpfs["Mode"] = _number(key, value, lambda octal: int(octal, 8))
    else:
        raise UsageError(f"unexpected key '{key}' in '{field}'" if "=" in field else f"invalid field '{field}'")
    named = (("BindOptions", bind), ("VolumeOptions", volume), ("TmpfsOptions", tmpfs), ("ImageOptions", image))
    found |= {name: options for name, options in named if options}


def _number(key: str, value: str, parse: Callable[[str], int]) -> int:
    try:
        return parse(value)
    except ValueError:
        raise UsageError(f"invalid value for {key}: {value}") from None
