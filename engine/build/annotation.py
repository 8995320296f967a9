"""Annotations of a build's manifests and of their index (BuildKit, docs/annotations.md).

KEY                              the manifest
manifest:KEY  index:KEY  manifest-descriptor:KEY  manifest[linux/arm64]:KEY  index,manifest:KEY
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from engine.errors import BuildFailed
from engine.image import platform
from engine.image.attached import Attached
from engine.image.platform import Platform

_LEVEL = r"[a-z-]+(?:\[[\w/.-]+\])?"
_PREFIXED = re.compile(rf"(?P<levels>{_LEVEL}(?:,{_LEVEL})*):(?P<key>.+)", re.DOTALL)
_PARTS = re.compile(r"(?P<level>[a-z-]+)(?:\[(?P<platform>.*)\])?")
_LEVELS = ("manifest", "manifest-descriptor", "index")


def attached(annotations: Iterable[tuple[str, str]], wanted: Platform) -> Attached:
    """Those for an image of a platform. Raises BuildFailed for a level that does not exist."""
    found: dict[str, dict[str, str]] = {level: {} for level in _LEVELS}
    for name, value in annotations:
        match = _PREFIXED.fullmatch(name)
        levels = match["levels"].split(",") if match else ["manifest"]
        key = match["key"] if match else name
        for text in levels:
            level = _PARTS.fullmatch(text)
            if level is None or level["level"] not in _LEVELS:
                hint = "index descriptors exist only in an OCI layout's index" if "index-desc" in text else ""
                raise BuildFailed(f"annotation {name}: unknown level {text!r}: {', '.join(_LEVELS)}", hint=hint)
            if level["platform"] and not wanted.runs(platform.parse(level["platform"])):
                continue
            found[level["level"]][key] = value
    return Attached(manifest=found["manifest"], manifest_descriptor=found["manifest-descriptor"], index=found["index"])
