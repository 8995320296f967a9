"""composer start: start existing containers in dependency order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command(
    "start",
    "start [SERVICE...]",
    (
        Flag("wait", "Wait until the services are running or healthy"),
        Flag("wait-timeout", "Maximum seconds to wait for services to be running or healthy", "uint", default=0),
    ),
)


def run(context: Context, args: Args) -> int:
    from composer.cli.project.change import change

    return change(context, "start", services=args.positional, wait=args.wait, wait_timeout=args.wait_timeout)
