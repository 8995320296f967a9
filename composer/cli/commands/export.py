"""composer export: a container's file system as a tar archive."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.project.containers import select
from composer.cli.render.progress import State

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from engine.spec.state import ContainerRecord

COMMAND = command(
    "export",
    "export [OPTIONS] SERVICE",
    (
        Flag("index", "Index of the container if the service has several", "uint", default=0),
        Flag("output", "Write to this file instead of STDOUT", "string", short="o"),
    ),
    positional=(1, 1),
)


def any_container(context: Context, service: str, index: int) -> ContainerRecord:
    """The container of the service, running or not. Raises CommandError if there is none."""
    context.check_services([service], among_containers=True)
    records = select(context.containers(), [service], index=index)
    if not records:
        raise CommandError(f'no container found for service "{service}"' + (f" at index {index}" if index else ""))
    return records[0]


def run(context: Context, args: Args) -> int:
    record = any_container(context, args.positional[0], args.index)
    if not args.output and sys.stdout.isatty():
        raise CommandError("output option is required when attached to terminal: use -o FILE or a pipe")
    with context.progress("export") as progress:
        progress.update(record.spec.name, "Exporting")
        if not context.dry_run:
            export_to(context, record, args.output)
        progress.update(record.spec.name, "Exported", State.DONE)
    return 0


def export_to(context: Context, record: ContainerRecord, output: str) -> None:
    """Write the archive to the file `output` ("" for stdout), completely or not at all."""
    if not output:
        sys.stdout.flush()
        context.engine.export(record.group, record.id, 1)
        return
    partial = f"{output}.partial-{os.getpid()}"
    try:
        with open(partial, "wb") as file:
            context.engine.export(record.group, record.id, file.fileno())
        os.replace(partial, output)
    finally:
        if os.path.exists(partial):
            os.unlink(partial)
