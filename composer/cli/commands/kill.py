"""composer kill: send a signal to running containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command(
    "kill",
    "kill [OPTIONS] [SERVICE...]",
    (
        Flag("remove-orphans", "Remove containers for services not defined in the Compose file"),
        Flag("signal", "The signal to send", "string", short="s", default="SIGKILL"),
    ),
)


def run(context: Context, args: Args) -> int:
    from composer.cli.project.change import change

    return change(context, "kill", services=args.positional, signal=args.signal, remove_orphans=args.remove_orphans)
