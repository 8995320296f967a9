"""The `--name=value` flags of an instruction, durations, and the value of RUN --mount."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping

from engine.build.instructions import RunMount

_FLAG = re.compile(r"--([a-zA-Z][a-zA-Z0-9-]*)(?:=(\"[^\"]*\"|'[^']*'|\S*))?(?:\s+|\Z)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\Z", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_MOUNT_TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")


class Flags:
    """Flags by name; each parser takes what it knows and `finish` refuses the rest."""

    def __init__(self, values: dict[str, list[str | None]]) -> None:
        self._values = values

    @classmethod
    def take(cls, text: str) -> tuple[Flags, str]:
        """The flags at the beginning of `text`, and the text after them."""
        values: dict[str, list[str | None]] = {}
        while match := _FLAG.match(text):
            value = match[2]
            if value and len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
                value = value[1:-1]
            values.setdefault(match[1], []).append(value)
            text = text[match.end() :]
        return cls(values), text

    def every(self, name: str) -> list[str]:
        return [self._required(name, value) for value in self._values.pop(name, [])]

    def text(self, name: str) -> str:
        values = self._values.pop(name, [])
        if len(values) > 1:
            raise ValueError(f"the flag --{name} is given more than once")
        return self._required(name, values[0]) if values else ""

    def optional(self, name: str) -> bool | None:
        values = self._values.pop(name, [])
        if not values:
            return None
        value = values[-1]
        if value is None or value.lower() in ("true", "1"):
            return True
        if value.lower() in ("false", "0"):
            return False
        raise ValueError(f"--{name} expects true or false, not {value!r}")

    def boolean(self, name: str) -> bool:
        return bool(self.optional(name))

    def finish(self, keyword: str) -> None:
        for name in self._values:
            raise ValueError(f"unknown flag: --{name} (instruction {keyword})")

    @staticmethod
    def _required(name: str, value: str | None) -> str:
        if value is None:
            raise ValueError(f"missing a value on flag: --{name}")
        return value


def duration(text: str) -> float:
    """Go's duration format (1m30s, 500ms) in seconds; "0" is 0. Raises ValueError."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|m|us|µs|ns|s)", text)
    if text != "0" and (not parts or "".join(number + unit for number, unit in parts) != text):
        raise ValueError(f"invalid duration {text!r}: expected a number with a unit, such as 30s or 1m30s")
    return sum((float(number) * _UNITS[unit] for number, unit in parts), 0.0)


def size(text: str) -> int:
    """A size such as 64m in bytes. Raises ValueError."""
    match = _SIZE.match(text)
    if not match:
        raise ValueError(f"invalid size {text!r}")
    return int(float(match[1]) * _SIZE_UNITS[match[2].lower()])


def run_mount(text: str) -> RunMount:
    """The comma-separated value of --mount (Dockerfile reference, "RUN --mount"). Raises ValueError."""
    values: dict[str, str] = {}
    for item in next(csv.reader([text]), []):
        key, equals, value = item.partition("=")
        key = _MOUNT_KEYS.get(key.strip().lower(), key.strip().lower())
        values[key] = value if equals else "true"
    kind = values.pop("type", "bind")
    if kind not in _MOUNT_TYPES:
        raise ValueError(f"unsupported mount type {kind!r}: one of {', '.join(_MOUNT_TYPES)}")
    writable = values.pop("readwrite", None)
    read_only = _boolean(values.pop("readonly"), "readonly") if "readonly" in values else None
    if writable is not None:
        read_only = not _boolean(writable, "readwrite")
    mount = RunMount(
        type=kind,
        id=values.pop("id", ""),
        source=values.pop("source", ""),
        target=values.pop("target", ""),
        from_=values.pop("from", ""),
        read_only=read_only,
        required=_boolean(values.pop("required", "false"), "required"),
        sharing=values.pop("sharing", "shared"),
        mode=_octal(values.pop("mode")) if "mode" in values else None,
        uid=_number(values.pop("uid", "0"), "uid"),
        gid=_number(values.pop("gid", "0"), "gid"),
        size=size(values.pop("size", "0")),
        env=values.pop("env", ""),
    )
    if values:
        raise ValueError(f"unexpected key {next(iter(values))!r} in --mount={text}")
    if mount.sharing not in ("shared", "private", "locked"):
        raise ValueError(f"unsupported sharing {mount.sharing!r}: shared, private or locked")
    if not mount.target and kind in ("bind", "cache", "tmpfs"):
        raise ValueError(f"--mount=type={kind} needs a target")
    return mount


_MOUNT_KEYS: Mapping[str, str] = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
}


def _boolean(text: str, key: str) -> bool:
    if text.lower() in ("true", "1", "false", "0", ""):
        return text.lower() in ("true", "1", "")
    raise ValueError(f"invalid value for {key}: {text!r}")


def _octal(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise ValueError(f"invalid mode {text!r}: expected octal digits") from None


def _number(text: str, key: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"invalid value for {key}: {text!r}")
    return int(text)
