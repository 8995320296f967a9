"""composer events: events of containers as they happen, one per line.

Events are derived from the containers' states: each change of state becomes docker's event. `--since` adds the last
create, start and die of each container.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.parsing.timestamps import SECOND, parse_timestamp
from composer.cli.project.containers import select
from composer.plan.labels import service_of
from engine.poll import readable
from engine.spec.state import Status

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from engine.spec.state import ContainerRecord

Event = tuple[float, str, "ContainerRecord", dict[str, str]]

COMMAND = command(
    "events",
    "events [OPTIONS] [SERVICE...]",
    (
        Flag("json", "One JSON object for each event"),
        Flag("since", "Show all events since a time (2013-01-02T13:23:37Z) or a duration ago (42m)", "string"),
        Flag("until", "Stream events until this time", "string"),
    ),
)


def run(context: Context, args: Args) -> int:
    # Compare integers, which are rounded once, so that the printed time of an event finds it again.
    since = parse_timestamp(args.since) / SECOND if args.since else None
    until = parse_timestamp(args.until) / SECOND if args.until else None
    context.check_shown(args.positional)
    before = {record.id: record for record in _containers(context, args)}
    if since is not None:
        for event in sorted(_past(before.values()), key=lambda event: event[0]):
            if since <= event[0] and (until is None or event[0] <= until):
                _show(event, json=args.json)
    watch = context.engine.watch(context.project_name)
    try:
        while until is None or time.time() < until:
            after = {record.id: record for record in _containers(context, args)}
            for event in _changes(before, after):
                _show(event, json=args.json)
            before = after
            readable(watch.fileno(), timeout=None if until is None else max(0.0, until - time.time()))
            watch.read()
    finally:
        watch.close()
    return 0


def _containers(context: Context, args: Args) -> list[ContainerRecord]:
    return select(context.containers(), args.positional, oneoff=True)


def _past(records: object) -> Iterator[Event]:
    assert hasattr(records, "__iter__")
    for record in records:
        state = record.state
        yield state.created_at, "create", record, {}
        if state.started_at:
            yield state.started_at, "start", record, {}
        if state.finished_at:
            yield state.finished_at, "die", record, {"exitCode": str(state.exit_code)}


def _changes(before: dict[str, ContainerRecord], after: dict[str, ContainerRecord]) -> Iterator[Event]:
    now = time.time()
    for key, record in after.items():
        yield from _steps(before.get(key), record, now)
    for key, record in before.items():
        if key not in after:
            yield now, "destroy", record, {}


def _steps(old: ContainerRecord | None, new: ContainerRecord, now: float) -> Iterator[Event]:
    """The events that lead from one state of a container to another."""
    state = new.state
    was = old.state if old else None
    if was is None:
        yield state.created_at or now, "create", new, {}
    elif was.status is Status.RUNNING and state.status is Status.PAUSED:
        yield now, "pause", new, {}
    elif was.status is Status.PAUSED and state.status is Status.RUNNING:
        yield now, "unpause", new, {}
    if was is not None and old is not None and old.spec.name != new.spec.name:
        yield now, "rename", new, {"oldName": old.spec.name}
    ended = state.finished_at > (was.finished_at if was else 0.0)
    started = state.started_at > (was.started_at if was else 0.0)
    steps: list[Event] = []
    if ended:
        if state.oom_killed:
            steps.append((state.finished_at, "oom", new, {}))
        steps.append((state.finished_at, "die", new, {"exitCode": str(state.exit_code)}))
        if state.stopped_by_user:
            steps.append((state.finished_at, "stop", new, {}))
    if started:
        steps.append((state.started_at, "start", new, {}))
    yield from sorted(steps, key=lambda event: event[0])
    health = state.health.status if state.health else ""
    if health and health != (was.health.status if was and was.health else "") and health != "starting":
        yield now, f"health_status: {health}", new, {}


def _show(event: Event, *, json: bool) -> None:
    timestamp, action, record, more = event
    when = datetime.datetime.fromtimestamp(timestamp)
    attributes = {**more, "image": record.spec.image_ref or record.spec.image, "name": record.spec.name}
    if json:
        from composer.cli.render.gojson import compact

        text = compact(
            {
                "action": action,
                "attributes": attributes,
                "id": record.id,
                "service": service_of(record),
                "time": when.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "type": "container",
            }
        )
    else:
        details = ", ".join(f"{key}={value}" for key, value in attributes.items())
        text = f"{when:%Y-%m-%d %H:%M:%S.%f} container {action} {record.id} ({details})"
    print(text, flush=True)
