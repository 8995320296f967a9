"""Finding a container by name, id, or the beginning of an id (Docker Engine API, "Containers")."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from composer.plan.labels import AUTOREMOVE
from composer.view.errors import Refusal, Unknown

if TYPE_CHECKING:
    from composer.run.port import Engine
    from engine.spec.state import ContainerRecord

T = TypeVar("T")


def labels(record: ContainerRecord) -> Mapping[str, str]:
    """Its labels, without our own for AutoRemove."""
    return {key: value for key, value in record.spec.labels.items() if key != AUTOREMOVE}


def every(engine: Engine) -> Iterator[ContainerRecord]:
    """All containers of the state root, newest first."""
    records = [record for group in engine.groups() for record in engine.containers(group)]
    yield from sorted(records, key=lambda record: -record.state.created_at)


def named(records: Iterable[T], wanted: str, of: Callable[[T], tuple[str, str]]) -> list[T]:
    """The record with this id or name, else all whose ids begin with it. `of` returns a record's id and name."""
    records = list(records)
    exact = [record for record in records if wanted in of(record)]
    return exact[:1] or [record for record in records if wanted and of(record)[0].startswith(wanted)]


def container(engine: Engine, name: str) -> ContainerRecord:
    """Raises Unknown for none, Refusal for the beginning of several ids."""
    plain = name.removeprefix("/")
    if (found := engine.find_container(plain)) is not None:
        return found
    near = named(every(engine), plain, lambda record: (record.id, record.spec.name))
    if len(near) > 1:
        raise Refusal(f"multiple IDs found with provided prefix: {name}")
    if not near:
        raise Unknown(f"No such container: {name}")
    return near[0]
