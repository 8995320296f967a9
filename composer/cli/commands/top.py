"""composer top: the processes of each container, read from /proc as ps(1) -ef shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args
from composer.cli.project.containers import is_up, select
from composer.cli.render.table import table
from composer.plan.labels import number_of, service_of
from composer.view.processes import COLUMNS, processes

if TYPE_CHECKING:
    from composer.cli.project.context import Context

HEADERS = ("SERVICE", "#", *COLUMNS)

COMMAND = command("top", "top [SERVICES...]")


def run(context: Context, args: Args) -> int:
    context.check_shown(args.positional)
    rows: list[tuple[str, ...]] = []
    for record in select(context.containers(), args.positional):
        if is_up(record):
            head = (service_of(record), str(number_of(record)))
            rows += [(*head, *process) for process in processes(record.state.pid)]
    if rows:
        print(table([HEADERS, *rows], minimum=4, padding=2), end="")
    return 0
