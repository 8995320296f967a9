"""composer wait: block until containers stop, and print their exit codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.errors import CommandError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.project.containers import is_up, select

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from engine.spec.state import ContainerRecord

COMMAND = command(
    "wait",
    "wait SERVICE [SERVICE...] [OPTIONS]",
    (Flag("down-project", "Take the project down when the first container stops"),),
    positional=(1, None),
)


def run(context: Context, args: Args) -> int:
    from composer.cli.project.exits import wait_for_exits

    context.check_services(args.positional, among_containers=True)
    records = [record for record in select(context.containers(), args.positional) if is_up(record)]
    if not records:
        raise CommandError("no containers for project " + f'"{context.project_name}"')
    code = 0

    def report(record: ContainerRecord, exit_code: int) -> bool:
        nonlocal code
        code = exit_code
        print(f'container "{record.spec.name}" exited with status code {exit_code}', flush=True)
        return not args.down_project

    wait_for_exits(context, records, report)
    if args.down_project:
        from composer.cli.project.change import change

        change(context, "down")
    return code
