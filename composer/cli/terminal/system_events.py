"""`system events`: the events of containers, networks and volumes of all projects, as the Docker API reports them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

from composer.cli.render.gojson import compact
from composer.cli.render.gotemplate import Template
from composer.load.printable import one_line
from composer.serve.docker.event_journal import Journal
from composer.serve.docker.events import FILTERS, fits
from composer.serve.docker.observer import Observer
from composer.view.filters import Filters
from engine.rfc3339 import nine_digits

if TYPE_CHECKING:
    from collections.abc import Callable

    from composer.cli.project.context import Context
    from composer.serve.docker.event_journal import Event


def show(context: Context, texts: list[str], form: str, since: float | None, until: float | None) -> None:
    """Print events until `until`, or for ever; `since` and `until` in seconds since the epoch. With `since`, also past
    events from the containers' records. Refusal for an unknown filter, UsageError for a wrong template."""
    filters, line = Filters.of_flags(texts, FILTERS), _line(form)

    def report(event: Event) -> None:
        if fits(filters, event):
            print(line(event), flush=True)

    anyio.run(_follow, context, report, since, until)


async def _follow(context: Context, report: Callable[[Event], None], since: float | None, until: float | None) -> None:
    journal = Journal()
    observer = Observer(context.engine, context.roots, journal)
    follower = journal.follow()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(observer.run)
        await observer.begun.wait()
        past = journal.history()
        for event in past if since is not None else ():
            at = event["timeNano"] / 1e9
            if since <= at and (until is None or at <= until):
                report(event)
        with anyio.move_on_after(None if until is None else max(0.0, until - time.time())):
            known = len(past)
            while True:
                event = await follower.next()
                if known:
                    known -= 1
                else:
                    report(event)
        follower.close()
        tasks.cancel_scope.cancel()


def _line(form: str) -> Callable[[Event], str]:
    if form == "json":
        return compact
    if not form:
        return _text
    template = Template(form)
    return lambda event: template.render(_fields(event))


def _text(event: Event) -> str:
    actor = event["Actor"]
    attributes = ", ".join(f"{name}={value}" for name, value in actor["Attributes"].items())
    shown = f" ({attributes})" if attributes else ""
    return one_line(f"{nine_digits(event['timeNano'])} {event['Type']} {event['Action']} {actor['ID']}{shown}")


def _fields(event: Event) -> dict[str, object]:
    """The event with the field names of Go templates."""
    names = {"status": "Status", "id": "ID", "from": "From", "scope": "Scope", "time": "Time", "timeNano": "TimeNano"}
    blank = {"Status": "", "ID": "", "From": ""}
    return blank | {names.get(name, name): value for name, value in event.items()}
