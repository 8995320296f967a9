"""composer pause: freeze the processes of containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command("pause", "pause [SERVICE...]")


def run(context: Context, args: Args) -> int:
    from composer.cli.project.change import change

    return change(context, "pause", services=args.positional)
