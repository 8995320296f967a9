"""composer stats: resource usage of containers, live or once."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.project.containers import is_up, select
from composer.cli.render.guard import raw
from composer.cli.render.table import MINIMUM, shorten, table
from composer.view.units import bytes_size, human_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from composer.cli.project.context import Context
    from engine.spec.state import ContainerRecord
    from engine.spec.stream import ContainerStats

FIELDS = ("BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs")
HEADERS = ("CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS")
NAMES = {"ID": "CONTAINER ID", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT", "MemPerc": "MEM %",
         "NetIO": "NET I/O", "BlockIO": "BLOCK I/O"}  # fmt: skip
INTERVAL = 1.0
"""Seconds between two readings, over which the share of processor time is measured."""

FLAGS = (
    Flag("all", "Show all containers, not only running ones", short="a"),
    Flag("format", "Format output: table, table TEMPLATE, json, or a Go TEMPLATE", "string"),
    Flag("no-stream", "Show the first result only"),
    Flag("no-trunc", "Do not truncate output"),
)

COMMAND = command(
    "stats",
    "stats [OPTIONS] [SERVICE]",
    FLAGS,
)


def run(context: Context, args: Args) -> int:
    context.check_shown(args.positional)
    return show(args, context, lambda: _records(context, args))


def show(args: Args, context: Context, listed: Callable[[], list[ContainerRecord]]) -> int:
    """Print the usage of the containers that `listed` returns, repeatedly unless --no-stream."""
    before: dict[str, ContainerStats] = {}
    _read(context, listed(), before)
    live = not args.no_stream
    while True:
        time.sleep(INTERVAL)
        records = listed()
        text = _text(args, [(record, *pair) for record, pair in _read(context, records, before)])
        screen = live and sys.stdout.isatty() and args.format in ("", "table")
        if screen:
            raw(sys.stdout).write("\x1b[H\x1b[J")
        sys.stdout.write(text)
        sys.stdout.flush()
        if not live or not records:
            return 0


def _records(context: Context, args: Args) -> list[ContainerRecord]:
    records = select(context.containers(), args.positional, oneoff=True)
    return [record for record in records if args.all or is_up(record)]


def _read(
    context: Context, records: list[ContainerRecord], before: dict[str, ContainerStats]
) -> list[tuple[ContainerRecord, tuple[ContainerStats | None, float]]]:
    """Each container's usage now, and its processor share in percent since the reading in `before`."""
    rows: list[tuple[ContainerRecord, tuple[ContainerStats | None, float]]] = []
    for record in records:
        stats = context.engine.stats(record.group, record.id) if record.state.status.alive else None
        last = before.get(record.id)
        share = 0.0
        if stats is not None:
            if last is not None and stats.read_at > last.read_at:
                share = max(stats.cpu - last.cpu, 0) / (stats.read_at - last.read_at) / 1e7
            before[record.id] = stats
        rows.append((record, (stats, share)))
    return rows


def _view(record: ContainerRecord, stats: ContainerStats | None, share: float, *, full: bool) -> dict[str, object]:
    """One container with docker's JSON names."""
    view: dict[str, object] = {
        "Container": record.id,
        "ID": record.id if full else record.id[:12],
        "Name": record.spec.name,
    }
    if stats is None:
        return {
            **view,
            "CPUPerc": "--",
            "MemUsage": "-- / --",
            "MemPerc": "--",
            "NetIO": "--",
            "BlockIO": "--",
            "PIDs": "--",
        }
    percent = stats.memory / stats.memory_limit * 100 if stats.memory_limit else 0.0
    return {
        **view,
        "BlockIO": f"{human_size(stats.blocks_read)} / {human_size(stats.blocks_written)}",
        "CPUPerc": f"{share:.2f}%",
        "MemPerc": f"{percent:.2f}%",
        "MemUsage": f"{bytes_size(stats.memory)} / {bytes_size(stats.memory_limit)}",
        "NetIO": f"{human_size(stats.received)} / {human_size(stats.sent)}",
        "PIDs": str(stats.pids),
    }


def _text(args: Args, rows: list[tuple[ContainerRecord, ContainerStats | None, float]]) -> str:
    views = [_view(*row, full=args.no_trunc) for row in rows]
    if args.format in ("", "table"):
        keys = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
        cells = [[str(view[key]) if key != "Name" or args.no_trunc else shorten(str(view[key]), 40) for key in keys]
                 for view in views]  # fmt: skip
        return table([HEADERS, *cells], minimum=MINIMUM)
    from composer.cli.render.gojson import compact
    from composer.cli.render.row_template import format_rows

    if args.format == "json":
        return "".join(f"{compact(dict(sorted(view.items())))}\n" for view in views)
    return format_rows(args.format, views, FIELDS, NAMES)
