"""composer stop: stop running containers, dependents first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command(
    "stop",
    "stop [OPTIONS] [SERVICE...]",
    (Flag("timeout", "Seconds to wait for containers to stop before they are killed", "int", short="t"),),
)


def run(context: Context, args: Args) -> int:
    from composer.cli.project.change import change

    return change(context, "stop", services=args.positional, timeout=args.timeout)
