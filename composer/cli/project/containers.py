"""A project's containers for commands: selection by service and number, and the values of docker's columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError
from composer.plan.labels import PROJECT, RELAY, is_hook, is_oneoff, number_of, service_of
from engine.spec.state import ContainerRecord

if TYPE_CHECKING:
    from composer.cli.project.context import Context


def is_up(record: ContainerRecord) -> bool:
    """Whether docker lists the container without --all."""
    return record.state.status.up


def short_name(record: ContainerRecord) -> str:
    """The name at the start of a log line: `web-1` without the project; a container_name in full."""
    project = record.spec.labels.get(PROJECT, record.group)
    name = record.spec.name
    return name.removeprefix(f"{project}-") if not is_oneoff(record) else name


def select(
    records: Iterable[ContainerRecord],
    services: Sequence[str] = (),
    *,
    oneoff: bool = False,
    index: int = 0,
) -> list[ContainerRecord]:
    """The containers of `services` (empty: all), by service and number."""
    chosen = [
        record
        for record in records
        if (not services or service_of(record) in services)
        and (oneoff or not is_oneoff(record))
        and not is_hook(record)
        and (not index or number_of(record) == index)
    ]
    return sorted(chosen, key=lambda record: (service_of(record), number_of(record), record.spec.name))


def one(context: Context, service: str, index: int) -> ContainerRecord:
    """The running container to which exec, attach, port … refer; CommandError in docker compose's words."""
    context.check_services([service], among_containers=True)
    running = [r for r in select(context.containers(), [service], index=index) if is_up(r)]
    if not running and not index:  # fall back to containers of `run` if the service itself is not running
        running = [r for r in select(context.containers(), [service], oneoff=True) if is_up(r)]
    if running:
        return running[0]
    raise CommandError(f'service "{service}" is not running' + (f" container #{index}" if index else ""))


def check_process(record: ContainerRecord, action: str) -> None:
    """Raises CommandError for a relay: it has no process of the service that a command could act on."""
    if RELAY in record.spec.labels:
        raise CommandError(
            f'service "{service_of(record)}" is managed by a provider: its container is a network relay and does not '
            f"support {action}"
        )
