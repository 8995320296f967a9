"""Log drivers and their options. The default rotates, so that no container fills the disk."""

from __future__ import annotations

import re

from engine.errors import InvalidSpec, Unsupported
from engine.spec.container import Logging

DEFAULT_MAX_SIZE = 20 * 1024 * 1024
DEFAULT_MAX_FILES = 5
FILE = "json.log"

_OPTIONS = (
    "max-size",
    "max-file",
    "compress",
    "mode",
    "max-buffer-size",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "tag",
)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "kb": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "g": 1 << 30, "gb": 1 << 30}


def settings(logging: Logging, folder: str) -> dict[str, object]:
    """The bundle's `log`. Raises Unsupported for another driver, InvalidSpec for a bad option."""
    driver = logging.driver or "json-file"
    if driver == "none":
        return {"path": "", "max_size": 0, "max_files": 0}
    if driver not in ("json-file", "local"):
        raise Unsupported(f"log driver {driver!r} is not supported", hint="Supported: json-file, local, none.")
    for option in logging.options:
        if option not in _OPTIONS:
            raise InvalidSpec(f"log driver {driver}: unknown option {option!r}")
    try:
        max_size = size(logging.options["max-size"]) if "max-size" in logging.options else DEFAULT_MAX_SIZE
        max_files = int(logging.options.get("max-file", DEFAULT_MAX_FILES))
    except ValueError as error:
        raise InvalidSpec(f"log driver {driver}: {error}") from error
    return {"path": f"{folder}/{FILE}", "max_size": max(0, max_size), "max_files": max_files}


def size(text: str) -> int:
    """ "10m" → bytes; -1 for no limit."""
    if text == "-1":
        return 0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", text)
    if not match or match[2].lower() not in _UNITS:
        raise ValueError(f"{text!r} is no size, like 10m")
    return int(float(match[1]) * _UNITS[match[2].lower()])
