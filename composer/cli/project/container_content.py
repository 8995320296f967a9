"""Files of any container: docker's container cp, export and commit."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from composer.cli.commands import cp as service_cp
from composer.cli.commands.commit import commit_container
from composer.cli.commands.export import export_to
from composer.cli.errors import CommandError, UsageError
from composer.cli.project.direct_changes import CAUSE, perform
from composer.plan.operations import Pause, Unpause
from composer.view import lookup
from engine.spec.state import Status

if TYPE_CHECKING:
    from composer.cli.parsing.flags import Args
    from composer.cli.project.context import Context


def cp(context: Context, args: Args) -> int:
    (from_container, source), (to_container, target) = map(service_cp.split, args.positional)
    if from_container and to_container:
        raise UsageError("copying between containers is not supported")
    if not from_container and not to_container:
        raise UsageError("must specify at least one container source")
    record = lookup.container(context.engine, from_container or to_container)
    if context.dry_run:
        return 0
    if from_container:
        service_cp.copy_from(context, record, source, target, follow=args.follow_link, archive=args.archive)
    else:
        service_cp.copy_to(context, record, source, target, args)
    if sys.stderr.isatty() and not args.quiet and target != "-":
        print(f"Successfully copied to {args.positional[1]}", file=sys.stderr)
    return 0


def export(context: Context, args: Args) -> int:
    record = lookup.container(context.engine, args.positional[0])
    if not args.output and sys.stdout.isatty():
        raise CommandError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    if not context.dry_run:
        export_to(context, record, args.output)
    return 0


def commit(context: Context, args: Args) -> int:
    """Print the image's id. The container is paused meanwhile, if it is running and unless the flags forbid it."""
    record = lookup.container(context.engine, args.positional[0])
    if context.dry_run:
        return 0
    pauses = args.pause and record.state.status is Status.RUNNING
    operation = {"id": 0, "name": record.spec.name, "cause": CAUSE, "container_id": record.id}
    if pauses:
        perform(context, record.group, [Pause(**operation)])  # type: ignore[arg-type]
    try:
        image = commit_container(context, record, args)
    finally:
        if pauses:
            perform(context, record.group, [Unpause(**operation)])  # type: ignore[arg-type]
    print(image.id)
    return 0
