"""Waiting for containers to exit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from composer.cli.project.containers import is_up
from engine.poll import readable

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from engine.spec.state import ContainerRecord


def wait_for_exits(
    context: Context, records: Iterable[ContainerRecord], report: Callable[[ContainerRecord, int], bool]
) -> None:
    """Call `report` with each container that exits (or is removed) and its exit code, until it returns False or none is left."""
    waiting = {record.id: record for record in records}
    watch = context.engine.watch(context.project_name)
    try:
        while waiting:
            present = {record.id: record for record in context.containers()}
            for key in list(waiting):
                record = present.get(key, waiting[key])
                if key not in present or not is_up(record):
                    del waiting[key]
                    if not report(record, record.state.exit_code):
                        return
            if waiting:
                readable(watch.fileno())
                watch.read()
    finally:
        watch.close()
