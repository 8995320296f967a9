"""Expand short forms to long forms, and add the defaults of long forms."""

from __future__ import annotations

import posixpath

from composer.load.errors import REPORTED, LoadError, raise_all
from composer.load.resolve import short
from composer.load.resolve.errors import ShortFormError
from composer.load.tree.forms import as_mapping
from composer.load.tree.nodes import Map, Sequence, dotted, origin_at
from composer.load.tree.patterns import Node, applied
from composer.load.tree.text import text_of

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from composer.load.tree.nodes import Path


MAX_PORTS = 1 << 17
"""The most ports of a service: all numbers, for two protocols."""


class Canonical:
    """Expands the short forms of a tree in place. With `lenient`, short forms that contain variables stay as they
    are."""

    def __init__(self, root: Map, warn: Callable[[str], None], *, lenient: bool) -> None:
        self.root, self.warn, self.lenient = root, warn, lenient
        self._errors: list[LoadError] = []

    def apply(self, rules: Node) -> None:
        """Expand the tree. Raises LoadError for invalid short forms."""
        applied(self.root, rules, self._long)
        raise_all(self._errors[:REPORTED])

    def _long(self, rule: Callable[[Canonical, Any, Path], Any], value: Any, path: Path) -> Any:
        try:
            return rule(self, value, path)
        except LoadError as error:
            self._errors.append(error)
            return value

    def wrong(self, path: Path, message: str, hint: str = "") -> LoadError:
        return LoadError(f"{dotted(path)}: {message}", origin_at(self.root, path), hint)

    # ---- rules

    def build(self, value: Any, path: Path) -> Any:
        if isinstance(value, str):
            return Map({"context": value})
        return self.mapping(value, path)

    def mapping(self, value: Any, path: Path) -> Any:
        if not isinstance(value, dict):
            raise self.wrong(path, "expected a mapping")
        return value

    def depends_on(self, value: Any, path: Path) -> Any:
        value = as_mapping(value)
        for name, entry in value.items():
            if not isinstance(entry, dict):
                raise self.wrong((*path, name), "expected a mapping")
            entry.setdefault("condition", "service_started")
            entry.setdefault("required", True)
        return value

    def depends_on_names(self, value: Any, path: Path) -> Any:
        if isinstance(value, list):
            return as_mapping(value, {"condition": "service_started", "required": True})
        return self.depends_on(self.mapping(value, path), path)

    def env_file(self, value: Any, path: Path) -> Any:
        value = self.sequence(value, path)
        if not isinstance(value, list):
            raise self.wrong(path, "expected a path or a sequence")
        for index, item in enumerate(value):
            if isinstance(item, str):
                value[index] = Map({"path": item, "required": True})
            elif isinstance(item, dict):
                item.setdefault("required", True)
        return value

    def sequence(self, value: Any, path: Path) -> Any:
        return Sequence([value], [origin_at(self.root, path)]) if isinstance(value, str) else value

    def extends(self, value: Any, path: Path) -> Any:
        return Map({"service": value}) if isinstance(value, str) else value

    def gpus(self, value: Any, path: Path) -> Any:
        return Sequence([Map({"count": "all"})]) if isinstance(value, str) else value

    def schedule(self, value: Any, path: Path) -> Any:
        return Map({"cron": value}) if isinstance(value, str) else value

    def names(self, value: Any, path: Path) -> Any:
        return as_mapping(value) if isinstance(value, list) else value

    def volume(self, value: Any, path: Path) -> Any:
        if not isinstance(value, str):
            return value
        try:
            long = short.volume(value)
        except ShortFormError as error:
            if self.lenient:
                return value
            raise self.wrong(path, str(error)) from None
        if long["target"]:
            long["target"] = clean(long["target"])
        return _maps(long)

    def device(self, value: Any, path: Path) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return Map(short.device(value))
        except ShortFormError as error:
            if self.lenient:
                return value
            raise self.wrong(path, str(error)) from None

    def limit(self, value: Any, path: Path) -> Any:
        """Check a ulimit. Interpolation has already converted text to numbers; Compose accepts text nowhere else."""
        if isinstance(value, str):
            raise self.wrong(path, f"expected a number, or soft and hard, found {value!r}")
        return value

    def mount(self, value: Any, path: Path) -> Any:
        return Map({"source": value}) if isinstance(value, str) else value

    def ports(self, value: Any, path: Path) -> Any:
        if not isinstance(value, Sequence):
            raise self.wrong(path, "expected a sequence")
        found = Sequence()
        for index, item in enumerate(value):
            place = value.origins[index]
            if isinstance(item, dict):
                found.put(item, place)
                continue
            try:
                for port in short.ports(text_of(item)):
                    found.put(Map(port), place)
                    if len(found) > MAX_PORTS:
                        raise self.wrong(path, f"more than {MAX_PORTS} ports, with ranges written out")
            except ShortFormError as error:
                if self.lenient:
                    return value
                self._errors.append(self.wrong((*path, index), str(error)))
        return found

    def text(self, value: Any, path: Path) -> Any:
        return text_of(value)

    def pairs(self, value: Any, path: Path) -> Any:
        """Convert a sequence of key=value to a mapping."""
        if not isinstance(value, Sequence):
            return value
        found = Map()
        for index, item in enumerate(value):
            key, equals, entry = str(item).partition("=")
            if not equals:
                if self.lenient:
                    return value
                raise self.wrong((*path, index), f"invalid value {item!r}, expected key=value")
            found.place(key, entry, value.origins[index])
        return found

    def ssh(self, value: Any, path: Path) -> Any:
        if not isinstance(value, Sequence):
            return value
        found = Map()
        for index, item in enumerate(value):
            key, equals, entry = str(item).partition("=")
            if not equals and key != "default":
                raise self.wrong((*path, index), f"invalid ssh key {item!r}, expected default or id=path")
            found.place(key, entry if equals else None, value.origins[index])
        return found

    def external(self, value: Any, path: Path) -> Any:
        """Convert `external: {name: …}`, the deprecated form of `external: true` with `name`."""
        if not isinstance(value, Map) or not isinstance(value.get("external"), dict):
            return value
        name = value["external"].get("name")
        value["external"] = True
        if name is not None:
            self.warn(f"{dotted(path)}: external.name is deprecated. Please set name and external: true")
            if "name" in value and value["name"] != name:
                raise self.wrong(path, "name and external.name conflict; only use name")
            value["name"] = name
        return value


def _maps(value: dict[str, Any]) -> Map:
    return Map({key: _maps(entry) if isinstance(entry, dict) else entry for key, entry in value.items()})


def clean(path: str) -> str:
    """The path without `.`, `..` and repeated slashes."""
    clean = posixpath.normpath(path) if path else "."
    return clean[1:] if clean.startswith("//") else clean


# ---- defaults of the long forms


def completed(root: Map, rules: Node) -> None:
    """Add the defaults of long forms."""
    applied(root, rules, lambda rule, value, path: rule(value) if isinstance(value, dict) else value)


def build_context(value: Any) -> Any:
    value.setdefault("context", ".")
    return value


def secret_target(value: Any) -> Any:
    if "target" not in value:
        value["target"] = f"/run/secrets/{value.get('source')}"
    return value


def port(value: Any) -> Any:
    value.setdefault("protocol", "tcp")
    value.setdefault("mode", "ingress")
    return value


def bind(value: Any) -> Any:
    value.setdefault("create_host_path", True)
    return value


def device_request(value: Any) -> Any:
    if "count" not in value and "device_ids" not in value:
        value["count"] = "all"
    return value
