"""Finding a container by what a client calls it: name, id, or the beginning of an id (Docker Engine API, "Containers")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from composer.run.monitor import AUTOREMOVE
from composer.serve.http.errors import HTTPError

if TYPE_CHECKING:
    from composer.run.port import Engine
    from engine.spec.state import ContainerRecord


def labels(record: ContainerRecord) -> Mapping[str, str]:
    """Its labels, without the one of this engine's that says AutoRemove."""
    return {key: value for key, value in record.spec.labels.items() if key != AUTOREMOVE}


def every(engine: Engine) -> Iterator[ContainerRecord]:
    """All containers of the state root, newest first."""
    records = [record for group in engine.groups() for record in engine.containers(group)]
    yield from sorted(records, key=lambda record: -record.state.created_at)


def container(engine: Engine, name: str) -> ContainerRecord:
    """HTTPError 404 for none, 400 for the beginning of several ids, in Docker's words."""
    plain = name.removeprefix("/")
    records = list(every(engine))
    for record in records:
        if plain in (record.id, record.spec.name):
            return record
    near = [record for record in records if plain and record.id.startswith(plain)]
    if len(near) > 1:
        raise HTTPError(400, f"multiple IDs found with provided prefix: {name}")
    if not near:
        raise HTTPError(404, f"No such container: {name}")
    return near[0]
