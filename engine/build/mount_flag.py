"""The value of RUN --mount (Dockerfile reference, "RUN --mount")."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping

from engine.build.instructions import MountText, RunMount
from engine.quantities import size

_TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING = ("shared", "private", "locked")
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_SAME: Mapping[str, str] = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
}
_KEYS = (
    "type", "from", "source", "target", "readonly", "readwrite", "id", "sharing", "required", "size", "mode", "uid",
    "gid", "env",
)  # fmt: skip
_WITHOUT_VALUE = ("readonly", "readwrite", "required")


def mount_text(text: str) -> MountText:
    """The mount before its variables are replaced. Raises ValueError for a variable in `from`."""
    source = ""
    for item in _items(text):
        key, equals, value = item.partition("=")
        if equals and key.lower() == "from":
            if "$" in value[:-1]:
                raise ValueError(f"from={value} cannot have a variable: name a stage, FROM {value} AS name, instead")
            source = value
    return MountText(text, source)


def run_mount(text: str, expand: Callable[[str], str]) -> RunMount:
    """The mount with its variables replaced. The keys are read from left to right, so `type` goes before the keys that
    only one type has. Raises ValueError."""
    kind, values = "bind", dict[str, str]()
    for item in _items(text):
        written, equals, value = item.partition("=")
        key = _SAME.get(written.lower(), written.lower())
        if key not in _KEYS:
            raise ValueError(f"unexpected key {written!r} in --mount={text}")
        if not equals and key not in _WITHOUT_VALUE:
            raise ValueError(f"{item!r} in --mount={text} needs a value")
        value = expand(value) if equals else "true"
        if (key == "required" and kind not in ("secret", "ssh")) or (key == "size" and kind != "tmpfs"):
            raise ValueError(f"unexpected key {written!r} for the mount type {kind!r} in --mount={text}")
        if key == "type":
            kind = value.lower()
            if kind not in _TYPES:
                raise ValueError(f"unsupported mount type {value!r}: one of {', '.join(_TYPES)}")
        elif key == "readwrite":
            key, value = "readonly", "false" if _boolean(value, written) else "true"
        values[key] = value
    return _checked(kind, values, text)


def _checked(kind: str, values: Mapping[str, str], text: str) -> RunMount:
    sharing = values["sharing"].lower() if "sharing" in values else None
    if sharing is not None and sharing not in _SHARING:
        raise ValueError(f"unsupported sharing {sharing!r}: {', '.join(_SHARING)}")
    if sharing and kind != "cache":
        raise ValueError(f"sharing is for cache mounts, not for {kind}: --mount={text}")
    if kind in ("bind", "tmpfs") and (wrong := next((key for key in ("mode", "uid", "gid") if key in values), "")):
        raise ValueError(f"{wrong} is not allowed for {kind} mounts: --mount={text}")
    if kind == "secret":
        if values.get("from"):
            raise ValueError(f"a secret mount cannot have from: --mount={text}")
        if not any(values.get(key) for key in ("source", "target", "id")):
            raise ValueError(f"a secret mount needs an id or a target: --mount={text}")
        if values.get("source") and values.get("id"):
            raise ValueError(f"a secret mount cannot have both source and id: --mount={text}")
    if kind == "ssh" and values.get("source"):
        raise ValueError(f"an ssh mount cannot have a source: --mount={text}")
    read_only = _boolean(values["readonly"], "readonly") if "readonly" in values else kind not in ("cache", "tmpfs")
    return RunMount(
        type=kind,
        id=values.get("id", ""),
        source=values.get("source", ""),
        target=values.get("target", ""),
        from_=values.get("from", ""),
        read_only=read_only,
        required=_boolean(values.get("required", "false"), "required"),
        sharing=sharing,
        mode=_octal(values["mode"]) if "mode" in values else None,
        uid=_number(values["uid"], "uid") if "uid" in values else None,
        gid=_number(values["gid"], "gid") if "gid" in values else None,
        size=size(values["size"]) if "size" in values else 0,
        env=values.get("env"),
    )


def _items(text: str) -> list[str]:
    return next(csv.reader([text], strict=True), []) if text else []


def _boolean(text: str, key: str) -> bool:
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(f"invalid value for {key}: {text!r}")


def _octal(text: str) -> int:
    if not re.fullmatch(r"[0-7]+", text):
        raise ValueError(f"invalid mode {text!r}: expected octal digits")
    return int(text, 8)


def _number(text: str, key: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) > 0xFFFFFFFF:
        raise ValueError(f"invalid value for {key}: {text!r}")
    return int(text)
