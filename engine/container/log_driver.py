"""A container's log driver: the files that the keeper writes, and the messages that the shipper sends. The default
rotates files, so that a container cannot fill the disk.

The files that a driver keeps are its log itself (json-file, local) or, for a driver that sends lines elsewhere, the spool
from which the shipper (engine.log.ship) sends them; `logs` reads either, as Docker reads its "dual logging" cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from msgspec.structs import replace

from engine.errors import InvalidSpec, Unsupported
from engine.spec import logtag
from engine.spec.container import Logging
from engine.spec.logoptions import DEFAULT_MAX_FILES, read
from engine.spec.logtag import Info

if TYPE_CHECKING:
    from engine.log.settings import LogSettings, Ship, ShipOptions

DEFAULT_MAX_SIZE = 20 * 1024 * 1024
NOT_READABLE = "configured logging driver does not support reading"
"""Docker's message for `logs` of a container without a stored log."""

LOCAL = ("json-file", "local", "none")
"""Drivers that do not send logs to a remote service."""


def check(logging: Logging) -> dict[str, Any]:
    """The options' values. Raises Unsupported for another driver, InvalidSpec for an unknown or bad option."""
    values, problems = read(logging.driver, logging.options)
    for problem in problems:
        kind = InvalidSpec if problem.option else Unsupported
        raise kind(problem.text, hint=problem.hint)
    return values


def settings(logging: Logging, info: Info, folder: str) -> LogSettings:
    """The bundle's `log`: `format` json, local or "" (nothing is kept), `folder` of its files, their sizes, and what to
    send where (`ship`)."""
    driver = logging.driver or "json-file"
    options = check(logging)
    if driver == "none":
        return {"format": ""}
    attrs = _attributes(options, info)
    if driver == "json-file" and "tag" in options:
        attrs["tag"] = logtag.expand(str(options["tag"]), info)
    remote = driver not in LOCAL
    prefix = "cache-" if remote else ""
    return {
        "format": "json" if driver == "json-file" else "local",
        "folder": folder,
        "max_size": options.get(f"{prefix}max-size", DEFAULT_MAX_SIZE),
        "max_files": max(options.get(f"{prefix}max-file", DEFAULT_MAX_FILES), 2 if remote else 1),
        "compress": options.get("compress", driver == "local"),
        "attrs": attrs,
        "ship": _ship(driver, options, info, attrs) if remote else None,
    }


def _attributes(options: Mapping[str, Any], info: Info) -> dict[str, str]:
    """The labels and variables that the options select (Docker's ExtraAttributes)."""
    found = {}
    for kind, values in (("labels", info.labels), ("env", info.env)):
        for name in filter(None, str(options.get(kind, "")).split(",")):
            if name in values:
                found[name] = values[name]
        wanted = options.get(f"{kind}-regex")
        if wanted:
            found.update({name: value for name, value in values.items() if wanted.search(name)})
    return found


def _ship(driver: str, options: Mapping[str, Any], info: Info, attrs: Mapping[str, str]) -> Ship:
    """The settings for the shipper; options have their names without the driver's prefix."""
    own = {
        name.removeprefix(f"{driver}-"): value
        for name, value in options.items()
        if name.startswith(f"{driver}-") or name == "mode"
    }
    tag = logtag.expand(str(options.get("tag", "") or "{{.ID}}"), replace(info, attrs=dict(attrs)))
    return {
        "driver": driver,
        "options": cast("ShipOptions", own),  # as engine.spec.logoptions reads them
        "id": info.id,
        "name": info.name,
        "image": info.image_name,
        "tag": tag,
        "attrs": dict(attrs),
    }
