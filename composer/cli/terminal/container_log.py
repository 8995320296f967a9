"""Print one container's log: its stdout and stderr go to ours."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from composer.view import lookup
from composer.view.api_format import log_details
from composer.view.container_list import is_up
from composer.view.errors import Unknown
from engine.poll import write_all
from engine.rfc3339 import nine_digits

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.run.handles import LogReader
    from engine.spec.state import ContainerRecord


def show_log(
    context: Context, record: ContainerRecord, *, since: int = 0, until: int = 0, tail: int | None = None,
    follow: bool = False, timestamps: bool = False, details: bool = False,
) -> int:  # fmt: skip
    """Print the log from `since` to `until` (nanoseconds since the epoch), or its last `tail` lines; with `follow`
    continue until the container exits. `details`: with the labels and variables of the log options. Raises Unsupported
    for a driver whose logs cannot be read."""
    engine = context.engine
    reader = engine.logs(record.group, record.id, since=since, until=until, tail=tail)
    watch = engine.watch(record.group) if follow else None
    try:
        while True:
            up = watch is not None and _goes_on(context, record)
            _print(reader, timestamps=timestamps, details=details)
            if watch is None or not up or (until and time.time_ns() > until):
                return 0
            _await(watch.fileno(), until)
            watch.read()
    finally:
        reader.close()
        if watch is not None:
            watch.close()


def _goes_on(context: Context, record: ContainerRecord) -> bool:
    try:
        return is_up(lookup.container(context.engine, record.id))
    except Unknown:
        return False


def _await(fd: int, until: int) -> None:
    from engine.poll import readable

    readable(fd, timeout=max((until - time.time_ns()) / 1e9, 0) if until else None)


def _print(reader: LogReader, *, timestamps: bool, details: bool) -> None:
    while entries := reader.read():
        for entry in entries:
            text = f"{log_details(entry.attrs)} {entry.text}" if details else entry.text
            text = f"{nine_digits(entry.time)} {text}" if timestamps else text
            write_all(2 if entry.stream == "stderr" else 1, text.encode(errors="surrogateescape"))
