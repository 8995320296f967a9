"""Volumes as Docker presents them (Docker Engine API 1.55, "Volumes")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from composer.view import lookup
from composer.view.api_format import timestamp
from composer.view.errors import InUse, Refusal, Unknown
from composer.view.filters import Filters, matches

if TYPE_CHECKING:
    from composer.run.port import Engine
    from engine.spec.network import VolumeRecord

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")
FILTERS = ("dangling", "driver", "label", "name")
PRUNE_FILTERS = ("all", "label", "label!")


def need(engine: Engine, name: str) -> VolumeRecord:
    """Unknown for none."""
    for record in engine.volumes():
        if record.spec.name == name:
            return record
    raise Unknown(f"get {name}: no such volume")


def users(engine: Engine) -> dict[str, list[str]]:
    """Volume → the ids of the containers that use it."""
    found_users: dict[str, list[str]] = {}
    for record in lookup.every(engine):
        named = (mount.source for mount in record.spec.mounts if mount.type == "volume" and mount.source)
        for name in dict.fromkeys((*record.state.anonymous_volumes, *named)):
            found_users.setdefault(name, []).append(record.id)
    return found_users


def selected(engine: Engine, filters: Filters) -> list[VolumeRecord]:
    """The volumes that match, sorted by name. Raises Refusal."""
    dangling = filters.boolean("dangling")
    used = users(engine)

    def fits(record: VolumeRecord) -> bool:
        spec = record.spec
        return (
            filters.any("name", lambda value: matches(value, spec.name))
            and filters.any("driver", lambda value: value == spec.driver)
            and (dangling is None or dangling == (spec.name not in used))
            and filters.labels(spec.labels)
        )

    return [record for record in engine.volumes() if fits(record)]


def unused(engine: Engine, filters: Filters, *, everything: bool) -> list[VolumeRecord]:
    """The volumes that a prune removes: unused anonymous ones; with `everything`, also named ones. As in Docker, those
    with driver options stay."""
    used = users(engine)
    return [
        record
        for record in engine.volumes()
        if (record.spec.anonymous or everything)
        and filters.labelled(record.spec.labels)
        and record.spec.name not in used
        and not record.spec.driver_opts
    ]


def check_name(name: str) -> None:
    """Raises Refusal for an invalid name."""
    if len(name) == 1:
        raise Refusal(f"create {name}: volume name is too short, names should be at least two alphanumeric characters")
    if not NAME.match(name):
        raise Refusal(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )


def check_removable(engine: Engine, name: str) -> None:
    """Raises InUse while a container uses it."""
    if holders := users(engine).get(name):
        raise InUse(f"remove {name}: volume is in use - [{', '.join(holders)}]")


def shown(record: VolumeRecord) -> dict[str, Any]:
    spec = record.spec
    return {
        "CreatedAt": timestamp(record.created_at),
        "Driver": spec.driver,
        "Labels": dict(spec.labels) or None,
        "Mountpoint": record.mountpoint,
        "Name": spec.name,
        "Options": dict(spec.driver_opts) or None,
        "Scope": "local",
    }
