"""composer rm: remove stopped containers, after asking."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.project.containers import select
from composer.cli.terminal.question import confirmed

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command(
    "rm",
    "rm [OPTIONS] [SERVICE...]",
    (
        Flag("all", "Deprecated, without effect", short="a", hidden=True),
        Flag("force", "Do not ask before removing", short="f"),
        Flag("stop", "Stop running containers before removing them", short="s"),
        Flag("volumes", "Also remove anonymous volumes of the containers", short="v"),
    ),
)


def run(context: Context, args: Args) -> int:
    from composer.cli.project.change import change

    context.check_services(args.positional, among_containers=True)
    if args.stop and context.dry_run:  # a dry run stops nothing, so plan the removal of running ones, too
        return change(context, "rm", services=args.positional, stop=True, volumes=args.volumes, force=True)
    if args.stop:
        change(context, "stop", services=args.positional)
    desired = None if context.whole_project else context.desired_or_none
    services = args.positional or (list(desired.services) if desired else ())
    stopped = [r for r in select(context.containers(), services) if r.state.status.can_remove]
    if not stopped:
        print("No stopped containers", file=context.stderr)
        return 0
    names = ", ".join(record.spec.name for record in stopped)
    print(f"Going to remove {names}", flush=True)
    question = "Are you sure? [yN] " if sys.stdin.isatty() else ""
    if not args.force and not context.dry_run and not confirmed(question, sys.stdout):
        return 0
    return change(context, "rm", services=args.positional, volumes=args.volumes, force=True)
